"""Clip windows of a folder as a random-access source, decoded on demand or from a cache.

`folder_source` is the one call from a folder to something that `pipeline.make_loader` takes. With
`num_frames=1` its examples are images. Decoding a random window costs a seek and the frames from
the key frame on, at every visit; a cache costs one decode of each frame that a window uses, once:

    cache=None       decode at each visit, for sets that fit nowhere (or build records, `records`)
    cache="memory"   resized frames in one array in memory; a copy goes to every worker process
    cache=folder     the same array in a file there, shared by processes and by later runs
"""

import dataclasses
import math
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
from jaxtyping import Float, Int, UInt8

from vldm_jax.core.errors import InputError
from vldm_jax.core.files import check_writable
from vldm_jax.core.words import counted, listed
from vldm_jax.data.cache import FrameArray, FrameFile, store_frames
from vldm_jax.data.faults import Path_, counts_of, shown
from vldm_jax.data.folder import Entry, Folder, by_reason, read_folder
from vldm_jax.data.rates import Cut, joined, rates_of
from vldm_jax.data.read import read_frames
from vldm_jax.data.transforms import resize_crop
from vldm_jax.data.windows import SLOWEST, SPLITS, clip_windows, held_out

Example = dict[str, Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class ClipSource:
    """Windows of videos as examples; see the package's docstring for what an example is.

    Attributes:
        entries: the videos.
        label_names: what the labels mean.
        video: for each window the number of its entry.
        frames: for each window its frame indices in that video.
        height: rows of an example.
        width: columns of an example.
        fps: frames per second of each window.
        cache: where the frames are, if they are decoded already: then row `rows[window, frame]`.
        rows: see `cache`.
        report: lines on what is kept and what is skipped, by reason.
        left_out: reason -> the names of the videos that give no window.
        remarks: what else a person should know of the folder, a line each.
    """

    entries: tuple[Entry, ...]
    label_names: tuple[str, ...]
    video: Int[np.ndarray, " n"]
    frames: Int[np.ndarray, "n t"]
    height: int
    width: int
    fps: Float[np.ndarray, " n"]
    report: str
    left_out: Mapping[str, tuple[str, ...]]
    remarks: tuple[str, ...] = ()
    cache: FrameFile | FrameArray | None = None
    rows: Int[np.ndarray, "n t"] | None = None

    @property
    def reasons(self) -> dict[str, int]:
        """Reason -> number of videos that give no window."""
        return {reason: len(names) for reason, names in self.left_out.items()}

    def __len__(self) -> int:
        return len(self.video)

    def __getitem__(self, key: SupportsIndex) -> Example:
        index = int(key)
        entry = self.entries[self.video[index]]
        if self.cache is None or self.rows is None:
            clip = decode_clip(entry, self.frames[index], self.height, self.width)
        else:
            clip = self.cache.array[self.rows[index]]
        content = {"image": clip[0]} if len(clip) == 1 else {"video": clip}
        return content | {
            "labels": entry.labels,
            "fps": np.float32(self.fps[index]),
            "key": np.int32(index),
        }

    def describe(self, key: int) -> str:
        """Return where an example comes from, for a person."""
        entry = self.entries[self.video[key]]
        return f"{shown(entry.name)} at {entry.video.times[self.frames[key, 0]]:.2f} s"


def decode_clip(
    entry: Entry, frames: Int[np.ndarray, " t"], height: int, width: int
) -> UInt8[np.ndarray, "t {height} {width} 3"]:
    """Return the frames with these indices, resized and cropped to (height, width)."""
    images = read_frames(entry.video.path, entry.video.pts[frames])
    return np.stack([resize_crop(image, height, width) for image in images])


def folder_source(
    path: Path_,
    *,
    height: int,
    width: int,
    fps: int | float,
    num_frames: int,
    more_fps: Sequence[int | float] = (),
    stride: int | float = 1.0,
    cache: Path_ | None = None,
    index: Path_ | None = None,
    cuts: bool = True,
    enlarge: bool = False,
    test_fraction: int | float = 0.0,
    split: str = "train",
    threads: int | None = None,
) -> ClipSource:
    """Return all clip windows of a folder of videos as a source.

    Args:
        path: folder (searched recursively) or one file; `labels.json` in it gives labels.
        height: rows of an example; frames are cut to the aspect and resized.
        width: columns of an example.
        fps: frames per second of an example, at most the videos' own.
        num_frames: frames of an example; 1 gives images.
        more_fps: further rates; there are as many windows of each.
        stride: distance between windows in frames at `fps`; a fraction starts windows between them.
        cache: None, "memory" or a folder, see above.
        index: JSON file that remembers the scan of the folder; in the cache's folder by default.
        cuts: whether to look for cuts and keep windows inside shots.
        enlarge: take videos smaller than (height, width) too.
        test_fraction: share of the shots, by a hash of their names, that `split="test"` gets.
        split: "train" or "test".
        threads: files decoded at a time while scanning and filling the cache.

    Raises:
        InputError: if nothing is usable, or an argument is out of range.
    """
    rates = rates_of(path, fps, more_fps, still=num_frames == 1)
    check_positive(path, height=height, width=width, num_frames=num_frames, stride=stride)
    if split not in SPLITS or not 0 <= test_fraction <= 1:
        raise InputError(
            f'{path}: split must be "train" or "test" and test_fraction in [0, 1], '
            f"got {split!r} and {test_fraction}"
        )
    if cache not in (None, "memory"):
        check_writable(cache)
        index = index or _index_in(cache, path)
    folder = read_folder(path, index=index, cuts=cuts, threads=threads)
    smallest = (0, 0) if enlarge else (height, width)
    cuts_of: list[Cut] = []
    lines, left_out = [], dict(folder.left_out)
    for rate in rates:
        found, short = _cut(
            folder, rate, num_frames, stride, smallest, lambda e: _shots_of(e, test_fraction, split)
        )
        if not found:
            reasons = {reason: len(names) for reason, names in {**folder.left_out, **short}.items()}
            raise InputError(
                f"{path}: no window of {num_frames} frames at {rate:g} fps and {height}x{width} in "
                f"{counted(sum(reasons.values()), 'video')} ({counts_of(reasons)}): ask for fewer "
                "frames, a lower fps or a smaller size, or add videos"
            )
        lines += _lines(found, short, f"{num_frames} frames at {rate:g} fps, {height}x{width}")
        left_out |= short
        cuts_of += found
    windows = joined(cuts_of)
    source = ClipSource(
        entries=folder.entries, label_names=folder.label_names,
        video=windows.video, frames=windows.frames, fps=windows.fps, height=height, width=width,
        report="\n".join([folder.report(), *lines]), left_out=left_out, remarks=folder.remarks,
    )  # fmt: skip
    return source if cache is None else with_cache(source, cache, threads=threads)


def _cut(
    folder: Folder,
    fps: float,
    num_frames: int,
    stride: int | float,
    smallest: tuple[int, int],
    shots_of: Callable[[Entry], Int[np.ndarray, "shots 2"]],
) -> tuple[list[Cut], dict[str, tuple[str, ...]]]:
    """Return the windows of a folder's videos at a rate; and the names of others, by reason."""
    cuts, faults = [], []
    for number, entry in enumerate(folder.entries):
        shots = shots_of(entry)
        frames = clip_windows(
            entry.video.times, shots, fps=fps, num_frames=num_frames, stride=stride
        )
        if reason := _fault(entry, frames, smallest, fps, num_frames, len(shots)):
            faults.append((reason, entry.name))
        else:
            cuts.append(Cut(number, frames, fps))
    return cuts, dict(by_reason(faults))


def check_positive(path: Path_, **values: int | float) -> None:
    """Raise unless every value is positive and finite.

    Raises:
        InputError: naming the path and the first that is not.
    """
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise InputError(f"{path}: {name} must be positive, got {value}")


def with_cache(source: ClipSource, cache: Path_, *, threads: int | None = None) -> ClipSource:
    """Return the same source with every frame that it uses decoded now; see `cache` above."""
    stored, rows = store_frames(
        source.entries, source.video, source.frames,
        height=source.height, width=source.width, cache=cache, threads=threads,
    )  # fmt: skip
    return dataclasses.replace(source, cache=stored, rows=rows)


def _index_in(cache: Path_, path: Path_) -> Path:
    return Path(cache) / f"index-{zlib.crc32(os.fsencode(Path(path).resolve())):08x}.json"


def _shots_of(entry: Entry, test_fraction: int | float, split: str) -> Int[np.ndarray, "shots 2"]:
    mine = [
        held_out(entry.name, number, test_fraction) == (split == "test")
        for number in range(len(entry.shots))
    ]
    return entry.shots[np.array(mine, bool)]


def _fault(
    entry: Entry,
    windows: np.ndarray,
    smallest: tuple[int, int],
    fps: int | float,
    num_frames: int,
    shots: int,
) -> str | None:
    height, width = entry.video.height, entry.video.width
    if height < smallest[0] or width < smallest[1]:
        return f"smaller than {smallest[0]}x{smallest[1]}"
    if len(windows):
        return None
    if not shots:
        return "all in the other split"
    if num_frames > 1 and 0 < entry.video.fps < SLOWEST * fps:
        return f"slower than {fps:g} fps"
    return f"too short for {num_frames} frames at {fps:g} fps"


def _lines(cuts: Sequence[Cut], short: Mapping[str, tuple[str, ...]], what: str) -> list[str]:
    count = counted(sum(len(cut.frames) for cut in cuts), "window")
    return [
        f"  {count} of {what} in {counted(len(cuts), 'video')}",
        *(
            f"  skipped {len(names)}: {reason} ({listed([shown(name) for name in names])})"
            for reason, names in short.items()
        ),
    ]
