"""Clip windows of a stored set (`records.build_records`) as a random-access source.

Only the windows that are asked for are decoded, from the bytes of their record; close key frames
keep that short. The set may be read at a lower fps or a smaller size than it was stored at.
TensorFlow is not needed.
"""

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import SupportsIndex

import numpy as np
from jaxtyping import Float, Int

from vldm_jax.core.errors import InputError
from vldm_jax.core.words import counted
from vldm_jax.data.rates import Cut, joined, rates_of
from vldm_jax.data.read import VideoError, read_frames
from vldm_jax.data.record_files import Metadata, RecordFiles, read_metadata
from vldm_jax.data.source import Example, check_positive
from vldm_jax.data.transforms import resize_crop
from vldm_jax.data.windows import SLOWEST, clip_windows

Path_ = str | os.PathLike[str]
Number = int | float


@dataclass(frozen=True, eq=False, kw_only=True)
class RecordSource:
    """Windows of a stored set as examples; see `records_source`.

    Attributes:
        records: the stored clips.
        label_names: what the labels mean.
        video: for each window the number of its record.
        frames: for each window its frame indices in that record.
        height: rows of an example.
        width: columns of an example.
        fps: frames per second of each window.
        report: what the build kept and left out, and the number of windows.
    """

    records: RecordFiles
    label_names: tuple[str, ...]
    video: Int[np.ndarray, " n"]
    frames: Int[np.ndarray, "n t"]
    height: int
    width: int
    fps: Float[np.ndarray, " n"]
    report: str

    def __len__(self) -> int:
        return len(self.video)

    def __getitem__(self, key: SupportsIndex) -> Example:
        index = int(key)
        number = int(self.video[index])
        record = self.records[number]
        pts = self.frames[index] * record.ticks
        try:
            images = list(read_frames(io.BytesIO(record.video), pts))
        except VideoError as error:
            raise self.records.damaged(number, error.reason) from error
        self.records.check_size(number, *images[0].shape[:2])
        clip = np.stack([resize_crop(image, self.height, self.width) for image in images])
        content = {"image": clip[0]} if len(clip) == 1 else {"video": clip}
        return content | {
            "labels": record.labels,
            "fps": np.float32(self.fps[index]),
            "key": np.int32(index),
        }

    def describe(self, key: int) -> str:
        """Return where an example comes from, for a person."""
        number = int(self.video[key])
        return f"{self.records[number].name} record {number}"


def records_source(
    path: Path_,
    *,
    num_frames: int,
    fps: Number | None = None,
    height: int | None = None,
    width: int | None = None,
    more_fps: Sequence[Number] = (),
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
        more_fps: further rates; there are as many windows of each.
        stride: distance between windows, in frames at their rate.
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
    stored = read_metadata(Path(path))
    rates = rates_of(path, stored.fps if fps is None else fps, more_fps, still=num_frames == 1)
    fps = max(rates)
    height, width = height or stored.height, width or stored.width
    too_large = not enlarge and (height > stored.height or width > stored.width)
    if too_large or fps > stored.fps / SLOWEST:
        raise InputError(
            f"{path}: stores {stored.height}x{stored.width} at {stored.fps:g} fps, asked "
            f"for {height}x{width} at {fps:g}: build it again, or ask for less"
        )
    check_positive(path, num_frames=num_frames, stride=stride)
    counts = {name: len(lengths) for name, lengths in stored.num_frames.items() if lengths}
    if split not in counts:
        raise InputError(
            f"{path}: no clips in {split!r}, it has {counts}: ask for another split, or build the "
            "set again (vldm data build folder --test-fraction)"
        )
    records = RecordFiles(Path(path), split, stored)
    cuts = [
        Cut(number, found, rate)
        for rate in rates
        for number, found in enumerate(
            _windows(path, stored, split, fps=rate, num_frames=num_frames, stride=stride)
        )
    ]
    windows = joined(cuts)
    counts = {rate: sum(len(cut.frames) for cut in cuts if cut.fps == rate) for rate in rates}
    lines = [
        f"  {counted(count, 'window')} of {num_frames} frames at {rate:g} fps"
        for rate, count in counts.items()
    ]
    return RecordSource(
        records=records, label_names=stored.label_names, video=windows.video,
        frames=windows.frames, height=height, width=width, fps=windows.fps,
        report="\n".join([stored.report, *lines]),
    )  # fmt: skip


def _windows(
    path: Path_, stored: Metadata, split: str, *, fps: Number, num_frames: int, stride: Number
) -> list[Int[np.ndarray, "n t"]]:
    """The windows of each record of a split."""
    lengths = stored.num_frames[split]
    windows = [
        clip_windows(
            np.arange(n) / stored.fps, np.array([[0, n]]),
            fps=fps, num_frames=num_frames, stride=stride,
        )
        for n in lengths
    ]  # fmt: skip
    if not sum(map(len, windows)):
        raise InputError(
            f"{path}: no window of {num_frames} frames at {fps:g} fps in the {len(lengths)} "
            f"clips of {split!r} (longest {max(lengths)} frames): ask for fewer"
        )
    return windows
