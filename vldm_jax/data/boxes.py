"""Boxes of objects beside the frames of an example, moved with them.

A folder of the driving simulator has them in `boxes.npz`, a stored set in its records. A source of
kind "boxes" brings, beside what the folder or the set brings,

    boxes     float32 (n 4), of a clip (t n 4): x0 y0 x1 y1 in [0, 1] of the example's frame
    is_box    bool (n), of a clip (t n): which rows are boxes; the others are zeros

with n = `max_boxes`, so that examples stack. Frames are cut and resized (`transforms`), and boxes
with them: what a cut leaves of a box stays if it is at least `LEAST` of the box's area. Frames are
never mirrored, here as elsewhere.
"""

import dataclasses
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, SupportsIndex, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from vldm_jax.core.errors import InputError
from vldm_jax.data.record_files import RecordFiles
from vldm_jax.data.record_source import RecordSource, records_source
from vldm_jax.data.source import ClipSource, Example, folder_source
from vldm_jax.data.transforms import crop_box

Path_ = str | os.PathLike[str]
FILE = "boxes.npz"
COLUMNS = ("clip", "frame", "car", "box")
LEAST = 0.2  # share of a box's area that a cut may leave


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class VideoBoxes:
    """The boxes of one video.

    Attributes:
        frame: for each box the number of its frame.
        box: x0 y0 x1 y1 in [0, 1] of the whole frame.
        size: height and width of that frame.
    """

    frame: Int[np.ndarray, " n"]
    box: Float[np.ndarray, "n 4"]
    size: tuple[int, int]


@runtime_checkable
class Boxes(Protocol):
    """Boxes by the number of their video."""

    def __getitem__(self, number: int) -> VideoBoxes: ...


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class BoxedSource:
    """A source whose examples have boxes; see the module.

    Attributes:
        source: of frames and labels.
        boxes: of its videos.
        max_boxes: rows of an example's `boxes`; where a frame has more, the largest are kept.
    """

    source: ClipSource | RecordSource
    boxes: Boxes
    max_boxes: int

    @property
    def report(self) -> str:
        """Lines on what is kept and skipped."""
        return self.source.report

    @property
    def label_names(self) -> tuple[str, ...]:
        """What the labels mean."""
        return self.source.label_names

    @property
    def video(self) -> Int[np.ndarray, " n"]:
        """For each example the number of the video that it is cut from."""
        return self.source.video

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: SupportsIndex) -> Example:
        index, to = int(key), (self.source.height, self.source.width)
        video = self.boxes[int(self.source.video[index])]
        rows, known = zip(
            *(
                padded(move_boxes(video.box[video.frame == frame], video.size, to), self.max_boxes)
                for frame in self.source.frames[index]
            ),
            strict=True,
        )
        example = self.source[index]
        boxes, is_box = np.stack(rows), np.stack(known)
        if "image" in example:
            boxes, is_box = boxes[0], is_box[0]
        return example | {"boxes": boxes, "is_box": is_box}

    def describe(self, key: int) -> str:
        """Return where an example comes from, for a person."""
        return self.source.describe(key)


def boxes_source(
    path: Path_,
    *,
    height: int,
    width: int,
    fps: int | float,
    num_frames: int,
    stride: int | float = 1.0,
    cache: Path_ | None = None,
    index: Path_ | None = None,
    cuts: bool = True,
    enlarge: bool = False,
    test_fraction: int | float = 0.0,
    split: str = "train",
    max_boxes: int = 24,
) -> BoxedSource:
    """Return the clip windows of a folder, or of a stored set, with their boxes.

    Args:
        path: what `vldm data build driving` has built: a folder of videos, or records.
        height: rows of an example.
        width: columns of an example.
        fps: frames per second of an example.
        num_frames: frames of an example; 1 gives images.
        stride: distance between windows in frames at `fps`.
        cache: as `folder_source` takes it; records have none.
        index: the same.
        cuts: whether to look for cuts.
        enlarge: take videos smaller than (height, width) too.
        test_fraction: share of the shots held out.
        split: "train" or "test".
        max_boxes: rows of `boxes`.

    Raises:
        InputError: if nothing is usable, there are no boxes, or an argument is out of range.
    """
    if type(max_boxes) is not int or max_boxes < 1:
        raise InputError(f"{path}: {max_boxes=} must be a whole number of at least 1")
    shared: dict[str, Any] = {
        "height": height, "width": width, "fps": fps, "num_frames": num_frames, "stride": stride,
        "cuts": cuts, "enlarge": enlarge, "test_fraction": test_fraction, "split": split,
    }  # fmt: skip
    if (Path(path) / "metadata.json").is_file():
        records = records_source(path, **shared)
        boxes = RecordBoxes(records.records)
        return BoxedSource(source=records, boxes=boxes, max_boxes=max_boxes)
    columns = read_boxes(path)
    clips = folder_source(path, cache=cache, index=index, **shared)
    return BoxedSource(source=clips, boxes=FolderBoxes(path, clips, columns), max_boxes=max_boxes)


def read_boxes(folder: Path_) -> dict[str, np.ndarray]:
    """Return the arrays of a folder's `boxes.npz`: clip, frame, car (n) and box (n 4).

    Raises:
        InputError: if the folder has none, or they are damaged.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        raise InputError(f"{path} does not exist: only folders built by this simulator have boxes")
    try:
        with path.open("rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as arrays:
            boxes = {name: arrays[name] for name in COLUMNS}
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} is damaged ({error}): remove the folder") from error
    if len({len(array) if array.ndim else -1 for array in boxes.values()}) > 1:
        raise InputError(f"{path} is damaged (columns of different lengths): remove the folder")
    return boxes


class FolderBoxes:
    """The boxes of the videos of a folder, whose names are their numbers.

    Args:
        folder: with `boxes.npz`.
        source: windows of its videos.
        columns: what `read_boxes` returns.

    Raises:
        InputError: if a video is no clip of the simulator, or what should be boxes are none.
    """

    def __init__(self, folder: Path_, source: ClipSource, columns: Mapping[str, np.ndarray]):
        path, box = Path(folder) / FILE, columns["box"]
        if box.ndim != 2 or box.shape[1] != 4 or not ((box >= 0) & (box <= 1)).all():
            raise InputError(f"{path} is damaged (what is no box in [0, 1]): remove the folder")
        self._sizes = [(entry.video.height, entry.video.width) for entry in source.entries]
        clips = []
        for entry in source.entries:
            if not (stem := Path(entry.name).stem).isdecimal():
                raise InputError(
                    f"{path} says nothing of {entry.name}: leave what this simulator has not "
                    "built out of the folder"
                )
            clips.append(int(stem))
        order = np.argsort(columns["clip"], kind="stable")
        self._frame = columns["frame"][order].astype(np.int64)
        self._box = box[order].astype(np.float32)
        ends = (np.searchsorted(columns["clip"][order], clips, side) for side in ("left", "right"))
        self._first, self._last = ends

    def __getitem__(self, number: int) -> VideoBoxes:
        mine = slice(self._first[number], self._last[number])
        return VideoBoxes(
            frame=self._frame[mine], box=self._box[mine], size=self._sizes[number]
        )  # fmt: skip


class RecordBoxes:
    """The boxes of the records of a set."""

    def __init__(self, records: RecordFiles):
        self._records = records

    def __getitem__(self, number: int) -> VideoBoxes:
        frame, box = self._records.boxes(number)
        return VideoBoxes(frame=frame, box=box, size=self._records.size)


def move_boxes(
    boxes: Float[np.ndarray, "n 4"], size: tuple[int, int], to: tuple[int, int]
) -> Float[np.ndarray, "k 4"]:
    """Return the boxes of a frame after `transforms.resize_crop`, clipped to what is left of it.

    Args:
        boxes: x0 y0 x1 y1 in [0, 1] of the whole frame.
        size: height and width of the frame.
        to: height and width that it is brought to.

    Returns:
        Those of which `LEAST` of the area is left, in [0, 1] of the new frame.
    """
    height, width = size
    left, top, right, bottom = crop_box(height, width, *to)
    corner = np.array([left, top, left, top], np.float32)
    scale = np.array([width, height, width, height], np.float32)
    span = np.array([right - left, bottom - top] * 2, np.float32)
    moved = (boxes.astype(np.float32) * scale[None] - corner[None]) / span[None]
    clipped = np.clip(moved, 0.0, 1.0)
    return clipped[areas(clipped) > LEAST * areas(moved)]


def areas(boxes: Float[np.ndarray, "*n 4"]) -> Float[np.ndarray, "*n"]:
    """Return the area of each box."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def padded(
    boxes: Float[np.ndarray, "n 4"], rows: int
) -> tuple[Float[np.ndarray, "{rows} 4"], Bool[np.ndarray, " {rows}"]]:
    """Return boxes with zeros after them, the largest if there are more than rows; and which are.

    Args:
        boxes: of a frame.
        rows: number of rows.
    """
    if len(boxes) > rows:
        largest = np.argsort(-areas(boxes), kind="stable")[:rows]
        boxes = boxes[np.sort(largest)]
    filled = np.zeros((rows, 4), np.float32)
    filled[: len(boxes)] = boxes
    return filled, np.arange(rows) < len(boxes)
