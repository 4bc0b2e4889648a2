"""A folder of videos turned once into a tensorflow-datasets ArrayRecord set.

`build_records` cuts every usable video into its shots, resamples and resizes them to one fps and
size and stores each as a short mp4 with close key frames, so that training opens no foreign file
and decodes only what it needs. `record_set` says what a record holds; its `name` is the file inside
its folder. Many machines at once (Beam) are not for this file.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from tqdm import tqdm

from vldm_jax.core.errors import InputError
from vldm_jax.core.files import check_new
from vldm_jax.core.progress import Progress
from vldm_jax.core.words import counted
from vldm_jax.data.folder import Entry, read_folder
from vldm_jax.data.read import scan
from vldm_jax.data.record_files import KEY_EVERY
from vldm_jax.data.source import decode_clip
from vldm_jax.data.windows import SLOWEST, SPLITS, even_runs, held_out
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
    usable, dropped = _sort_out(scanned.entries, (height, width), fps)
    splits, short = _cut_segments(usable, fps, (shortest, longest), test_fraction)
    notes = [*dropped, *_short_note(short, shortest, fps), *_empty_notes(splits, test_fraction)]
    if not any(splits.values()):
        why = "; ".join(note.splitlines()[0] for note in notes)
        raise InputError(f"{folder}: nothing to store at {fps:g} fps and {height}x{width} ({why})")
    for note in notes:  # before the work, which may take hours
        tqdm.write(note.splitlines()[0], file=sys.stderr)
    lines = [scanned.report(), *(f"  {note}" for note in notes)]
    stored = {name: counted(len(part), "clip") for name, part in splits.items() if part}
    lines += [f"  stored {clips} in {name!r}" for name, clips in stored.items()]
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
    # tensorflow-datasets takes a second to import: not before all that can be wrong was looked at.
    from vldm_jax.data.record_set import VideoRecords, write_set

    write_set(out, VideoRecords, makers, metadata)
    return report


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


def _sort_out(
    entries: Sequence[Entry], size: tuple[int, int], fps: float
) -> tuple[list[Entry], list[str]]:
    """The videos that have this size and rate, and a note for each reason why others do not."""
    height, width = size
    usable, small, slow = [], [], []
    for entry in entries:
        if entry.video.height < height or entry.video.width < width:
            small.append(entry)
        elif entry.video.fps < SLOWEST * fps:
            slow.append(entry)
        else:
            usable.append(entry)
    notes = []
    if small:
        rows, columns = (min(e.video.height for e in small), min(e.video.width for e in small))
        notes.append(
            _note(
                f"videos smaller than {height}x{width}; at {rows}x{columns} all would stay",
                [f"{e.name} ({e.video.height}x{e.video.width})" for e in small],
            )
        )
    if slow:
        slowest = min(entry.video.fps for entry in slow)
        stay = f"; at {slowest:.6g} fps all would stay" if slowest else ""
        notes.append(
            _note(
                f"videos slower than {fps:g} fps{stay}",
                [f"{entry.name} ({entry.video.fps:.6g} fps)" for entry in slow],
            )
        )
    return usable, notes


def _note(what: str, names: list[str]) -> str:
    return "\n".join([f"dropped {len(names)} {what}", *(f"    {name}" for name in names)])


def _short_note(count: int, shortest: int, fps: float) -> list[str]:
    what = f"{counted(count, 'shot')} shorter than {shortest} frames at {fps:g} fps"
    return [f"dropped {what}"] if count else []


def _empty_notes(splits: dict[str, list[Segment]], test_fraction: Number) -> list[str]:
    if test_fraction == 0 or not any(splits.values()):
        return []
    return [
        f"no clip in {name!r}: the hash of no shot falls there at test_fraction={test_fraction}; "
        "choose another fraction, or add videos"
        for name, part in splits.items()
        if not part
    ]


def _cut_segments(
    entries: Sequence[Entry], fps: float, lengths: tuple[int, int], test_fraction: Number
) -> tuple[dict[str, list[Segment]], int]:
    """The pieces of either split, and how many shots are too short for any."""
    splits: dict[str, list[Segment]] = {split: [] for split in SPLITS}
    short = 0
    for entry in entries:
        for number, shot in enumerate(entry.shots):
            split = "test" if held_out(entry.name, number, test_fraction) else "train"
            pieces = _segments(entry, shot, fps, *lengths)
            splits[split] += pieces
            short += not pieces
    return splits, short


def _generate(
    segments: list[Segment],
    size: tuple[int, int],
    fps: float,
    crf: int,
    threads: int | None,
    scratch: Path,
) -> Iterator[tuple[int, dict[str, Any]]]:
    workers = threads or os.cpu_count() or 1
    with (
        ThreadPoolExecutor(workers) as pool,
        Progress("storing", len(segments), "clip") as progress,
    ):
        for start in range(0, len(segments), 4 * workers):
            jobs = [
                (scratch / f"{number}.mp4", segment, size, fps, crf)
                for number, segment in enumerate(segments[start : start + 4 * workers], start)
            ]
            for number, record in enumerate(pool.map(lambda job: _store(*job), jobs), start):
                progress.update()
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
        "name": segment.entry.name.encode(errors="surrogateescape"),
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
