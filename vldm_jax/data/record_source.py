"""Clip windows of a stored set (`records.build_records`) as a random-access source.

Only the windows that are asked for are decoded, from the bytes of their record; close key frames
keep that short. The set may be read at a lower fps or a smaller size than it was stored at.
TensorFlow is not needed.
"""

import io
import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Int

from vldm_jax.core.errors import InputError
from vldm_jax.data.read import read_frames
from vldm_jax.data.source import Example, check_positive
from vldm_jax.data.transforms import resize_crop
from vldm_jax.data.windows import SLOWEST, clip_windows

Path_ = str | os.PathLike[str]
Number = int | float


@dataclass(frozen=True, eq=False, kw_only=True)
class RecordSource:
    """Windows of a stored set as examples; see `records_source`.

    Attributes:
        path: the set's folder.
        split: "train" or "test".
        label_names: what the labels mean.
        video: for each window the number of its record.
        frames: for each window its frame indices in that record.
        height: rows of an example.
        width: columns of an example.
        fps: frames per second of an example.
        report: what the build kept and left out, and the number of windows.
    """

    path: Path
    split: str
    label_names: tuple[str, ...]
    video: Int[np.ndarray, " n"]
    frames: Int[np.ndarray, "n t"]
    height: int
    width: int
    fps: float
    report: str

    @cached_property
    def _records(self) -> Any:
        return tfds.builder_from_directory(str(self.path)).as_data_source(self.split)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_records"}

    def __len__(self) -> int:
        return len(self.video)

    def __getitem__(self, key: SupportsIndex) -> Example:
        index = int(key)
        record = self._records[int(self.video[index])]
        pts = self.frames[index] * int(record["ticks"])
        images = read_frames(io.BytesIO(record["video"]), pts)
        clip = np.stack([resize_crop(image, self.height, self.width) for image in images])
        content = {"image": clip[0]} if len(clip) == 1 else {"video": clip}
        return content | {
            "labels": record["labels"],
            "fps": np.float32(self.fps),
            "key": np.int32(index),
        }

    def describe(self, key: int) -> str:
        """Return where an example comes from, for a person."""
        record = self._records[int(self.video[key])]
        return f"{record['name'].decode()} record {self.video[key]}"


def records_source(
    path: Path_,
    *,
    num_frames: int,
    fps: Number | None = None,
    height: int | None = None,
    width: int | None = None,
    stride: Number = 1.0,
    split: str = "train",
    test_fraction: Number = 0.0,
    cuts: bool = True,
    enlarge: bool = False,
) -> RecordSource:
    """Return the clip windows of a set that `build_records` wrote.

    Args:
        path: the set's folder.
        num_frames: frames of an example; 1 gives images.
        fps: frames per second, at most the stored; the stored by default.
        height: rows, at most the stored; the stored by default.
        width: columns, at most the stored; the stored by default.
        stride: distance between windows, in frames at `fps`.
        split: "train" or "test".
        test_fraction: 0 only, as for `folder_source`: the build has decided what is held out.
        cuts: True only: the build has decided whether to look for cuts.
        enlarge: take a size above the stored one.

    Raises:
        InputError: if it is no such set, has nothing of that size, rate and length, or is asked
            for what only a new build can change.
    """
    if test_fraction != 0 or not cuts:
        raise InputError(
            f"{path}: {test_fraction=} and {cuts=} are decided when records are built: leave them "
            "at 0.0 and True, or build the set again (vldm data build folder --test-fraction)"
        )
    stored = _metadata(Path(path))
    fps = stored["fps"] if fps is None else fps
    height, width = height or stored["height"], width or stored["width"]
    too_large = not enlarge and (height > stored["height"] or width > stored["width"])
    if too_large or fps > stored["fps"] / SLOWEST:
        raise InputError(
            f"{path}: stores {stored['height']}x{stored['width']} at {stored['fps']:g} fps, asked "
            f"for {height}x{width} at {fps:g}: build it again, or ask for less"
        )
    windows = _windows(path, stored, split, fps=fps, num_frames=num_frames, stride=stride)
    video = np.repeat(np.arange(len(windows), dtype=np.int32), [len(found) for found in windows])
    return RecordSource(
        path=Path(path), split=split, label_names=tuple(stored["label_names"]), video=video,
        frames=np.concatenate(windows), height=height, width=width, fps=float(fps),
        report=f"{stored['report']}\n  {len(video)} windows of {num_frames} frames at {fps:g} fps",
    )  # fmt: skip


def _windows(
    path: Path_, stored: dict[str, Any], split: str, *, fps: Number, num_frames: int, stride: Number
) -> list[Int[np.ndarray, "n t"]]:
    """The windows of each record of a split."""
    check_positive(path, fps=fps, num_frames=num_frames, stride=stride)
    lengths = stored["num_frames"][split] if split in stored["num_frames"] else []
    windows = [
        clip_windows(
            np.arange(n) / stored["fps"], np.array([[0, n]]),
            fps=fps, num_frames=num_frames, stride=stride,
        )
        for n in lengths
    ]  # fmt: skip
    if not sum(map(len, windows)):
        raise InputError(
            f"{path}: no window of {num_frames} frames at {fps:g} fps in the {len(lengths)} "
            f"clips of {split!r} (longest {max(lengths, default=0)} frames): ask for fewer"
        )
    return windows


def _metadata(path: Path) -> dict[str, Any]:
    file = path / "metadata.json"
    if not (file.is_file() and (path / "features.json").is_file()):
        raise InputError(f"{path}: no stored set of clips: make one with `vldm data build`")
    return json.loads(file.read_text(encoding="utf-8"))
