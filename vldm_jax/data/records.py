"""A folder of videos turned once into a tensorflow-datasets ArrayRecord set.

`build_records` cuts every usable video into its shots, resamples and resizes them to one fps and
size and stores each as a short mp4 with close key frames, so that training opens no foreign file
and decodes only what it needs. `record_set` says what a record holds; its `name` is the file inside
its folder. Many machines at once (Beam) are not for this file.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from tqdm import tqdm

from vldm_jax.core.errors import InputError
from vldm_jax.data.folder import Entry, read_folder
from vldm_jax.data.read import scan
from vldm_jax.data.record_set import KEY_EVERY, ClipSet, Records, check_new, write_set
from vldm_jax.data.source import decode_clip
from vldm_jax.data.windows import SLOWEST, even_runs, held_out
from vldm_jax.data.write import check_crf, frame_rate, write_video

Path_ = str | os.PathLike[str]
Number = int | float


@dataclass(frozen=True, eq=False, kw_only=True)
class Segment:
    """A piece of one shot: frame indices of its video at the records' fps."""

    entry: Entry
    frames: Int[np.ndarray, " t"]


def build_records(
    folder: Path_,
    out: Path_,
    *,
    height: int,
    width: int,
    fps: Number,
    shortest: int = 8,
    longest: int = 256,
    crf: int = 14,
    test_fraction: Number = 0.0,
    cuts: bool = True,
    threads: int | None = None,
) -> str:
    """Write a folder of videos as ArrayRecords to the new folder `out`; return the report.

    Args:
        folder: folder of videos or one file, with an optional `labels.json`.
        out: the set's own folder; must not exist.
        height: rows to store, even.
        width: columns to store, even.
        fps: frames per second to store, at most the videos' own.
        shortest: shots of fewer stored frames are dropped (and counted).
        longest: longer shots are stored in pieces of this many frames.
        crf: quality of the stored mp4s, lower is better and bigger.
        test_fraction: share of the shots, in [0, 1), that go to the split "test", by a hash of
            their names.
        cuts: whether to look for cuts.
        threads: files worked on at a time.

    Raises:
        InputError: if `out` exists, an argument is out of range, or nothing is usable.
    """
    out = Path(out)
    check_new(out)
    _check(folder, height, width, fps, crf, test_fraction)
    fps = float(fps)
    scanned = read_folder(folder, cuts=cuts, threads=threads)
    splits, dropped = _cut_segments(
        scanned.entries, (height, width), fps, (shortest, longest), test_fraction
    )
    if not any(splits.values()):
        why = ", ".join(f"{n} {why}" for why, n in dropped.items())
        raise InputError(f"{folder}: nothing to store at {fps:g} fps and {height}x{width} ({why})")
    lines = [scanned.report(), *(f"  dropped {n} {why}" for why, n in sorted(dropped.items()))]
    lines += [f"  stored {len(part)} clips in {name!r}" for name, part in splits.items() if part]
    report = "\n".join(lines)
    metadata = {
        "fps": fps,
        "height": height,
        "width": width,
        "label_names": list(scanned.label_names),
        "report": report,
        "num_frames": {name: [len(s.frames) for s in part] for name, part in splits.items()},
    }
    makers = {
        name: partial(_generate, part, (height, width), fps, crf, threads)
        for name, part in splits.items()
        if part
    }
    write_set(out, lambda folder: _VideoRecords(folder, makers, metadata))
    return report


class _VideoRecords(ClipSet, skip_registration=True):
    name = "video_records"


def _check(
    folder: Path_, height: int, width: int, fps: Number, crf: int, test_fraction: Number
) -> None:
    """Raise what would otherwise come up in the middle of the work."""
    if height % 2 or width % 2 or min(height, width) < 2:
        raise InputError(f"{folder}: stored videos need even sizes, got {height}x{width}")
    if not 0 <= test_fraction < 1:
        raise InputError(f"{folder}: test_fraction must lie in [0, 1), got {test_fraction}")
    frame_rate(fps)
    check_crf(crf)


def _cut_segments(
    entries: Sequence[Entry],
    size: tuple[int, int],
    fps: Number,
    lengths: tuple[int, int],
    test_fraction: Number,
) -> tuple[dict[str, list[Segment]], Counter[str]]:
    """The pieces of either split, and how many videos or shots give none, by reason."""
    height, width = size
    splits: dict[str, list[Segment]] = {"train": [], "test": []}
    dropped: Counter[str] = Counter()
    for entry in entries:
        if entry.video.height < height or entry.video.width < width:
            dropped[f"videos smaller than {height}x{width}"] += 1
        elif entry.video.fps < SLOWEST * fps:
            dropped[f"videos slower than {fps:g} fps"] += 1
        else:
            for number, shot in enumerate(entry.shots):
                split = "test" if held_out(entry.name, number, test_fraction) else "train"
                pieces = _segments(entry, shot, fps, *lengths)
                splits[split] += pieces
                dropped[f"shots shorter than {lengths[0]} frames at {fps:g} fps"] += not pieces
    return splits, +dropped


def _generate(
    segments: list[Segment], size: tuple[int, int], fps: float, crf: int, threads: int | None
) -> Records:
    workers = threads or os.cpu_count() or 1
    with (
        tempfile.TemporaryDirectory() as scratch,
        ThreadPoolExecutor(workers) as pool,
        tqdm(total=len(segments), desc="storing", leave=False, disable=None) as bar,
    ):
        for start in range(0, len(segments), 4 * workers):
            jobs = [
                (Path(scratch) / f"{number}.mp4", segment, size, fps, crf)
                for number, segment in enumerate(segments[start : start + 4 * workers], start)
            ]
            for number, record in enumerate(pool.map(lambda job: _store(*job), jobs), start):
                bar.update()
                yield number, record


def _store(
    path: Path, segment: Segment, size: tuple[int, int], fps: float, crf: int
) -> dict[str, Any]:
    clip = decode_clip(segment.entry, segment.frames, *size)
    write_video(path, clip, fps, crf=crf, key_every=KEY_EVERY)
    video, _ = scan(path)
    ticks = np.unique(np.diff(video.pts))
    if len(video.pts) != len(clip) or len(ticks) > 1 or video.pts[0]:
        raise OSError(f"{path}: wrote {len(clip)} frames evenly, reads ticks {video.pts}")
    content = path.read_bytes()
    path.unlink()
    return {
        "video": content,
        "labels": segment.entry.labels,
        "name": segment.entry.name,
        "num_frames": len(clip),
        "ticks": int(ticks[0]) if len(ticks) else 0,
    }


def _segments(
    entry: Entry, shot: np.ndarray, fps: Number, shortest: int, longest: int
) -> list[Segment]:
    first, end = int(shot[0]), int(shot[1])
    runs = even_runs(entry.video.times, first, end, fps=fps)
    pieces = [run[at : at + longest] for run in runs for at in range(0, len(run), longest)]
    return [Segment(entry=entry, frames=piece) for piece in pieces if len(piece) >= shortest]
