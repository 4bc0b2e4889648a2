"""A folder of videos: what is in it, what is usable, and why the rest is not.

Every video is decoded once from end to end (`read.scan`), so that a damaged one is known before
training starts, and searched for cuts. What that found can be kept in an index file, which is
trusted for files whose size and modification time have not changed. A bad video among good ones is
skipped and listed under its reason; only a folder in which nothing is usable is an error.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from tqdm import tqdm

from vldm_jax.core.errors import InputError
from vldm_jax.core.files import check_writable, write_json
from vldm_jax.data.labels import read_labels
from vldm_jax.data.read import Video, VideoError, scan
from vldm_jax.data.shots import find_shots

Path_ = str | os.PathLike[str]
SUFFIXES = frozenset(
    ".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .ts .m2ts .ogv .wmv .flv .3gp .gif".split()
)
INDEX_VERSION = 2  # 1 took cut mkv, webm and gif files for whole


@dataclass(frozen=True, eq=False, kw_only=True)
class Entry:
    """One usable video: its path inside the folder, what its decode found, shots and labels."""

    name: str
    video: Video
    shots: Int[np.ndarray, "shots 2"]
    labels: Float[np.ndarray, " k"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Folder:
    """A scanned folder.

    Attributes:
        path: the folder.
        entries: the videos that decode, in order of their names.
        label_names: names of the labels; empty without a `labels.json`.
        skipped: name -> the full message of why it is left out; see `reasons` for the counts.
        reasons: reason -> number of videos skipped for it.
    """

    path: Path
    entries: tuple[Entry, ...]
    label_names: tuple[str, ...]
    skipped: Mapping[str, str]
    reasons: Mapping[str, int]

    def report(self) -> str:
        """Return lines that say what is kept, and what is skipped and why."""
        seconds = sum(float(entry.video.times[-1]) for entry in self.entries)
        shots = sum(len(entry.shots) for entry in self.entries)
        lines = [f"{self.path}: {len(self.entries)} videos, {shots} shots, {seconds:.1f} s"]
        lines += [f"  skipped {count}: {reason}" for reason, count in sorted(self.reasons.items())]
        lines += [f"    {message}" for _, message in sorted(self.skipped.items())]
        return "\n".join(lines)


def read_folder(
    path: Path_, *, index: Path_ | None = None, cuts: bool = True, threads: int | None = None
) -> Folder:
    """Scan a folder of videos recursively; hidden files and other suffixes are not looked at.

    Args:
        path: a folder, or one video file.
        index: JSON file that keeps what the scan found; read if it exists, then rewritten.
        cuts: whether to look for cuts; without, a video is one shot.
        threads: files decoded at a time; the machine's cores by default.

    Raises:
        InputError: if the path is missing, holds no video, none of them decodes, or its
            `labels.json` cannot be used, or the index cannot be written.
    """
    if index is not None:
        check_writable(Path(index).parent)
    path = Path(path)
    root, files = _list_videos(path)
    label_names, labels = read_labels(root)
    known = _read_index(index)
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        scans = pool.map(lambda file: _scan_or_recall(root, file, known), files)
        bar = tqdm(scans, total=len(files), desc="scanning", leave=False, disable=None)
        found = list(bar)
    if index is not None:
        write_json(index, {"version": INDEX_VERSION, "videos": dict(found)})
    entries = tuple(
        _entry(root, name, record, labels, label_names, cuts)
        for name, record in found
        if "reason" not in record
    )
    bad = {name: record for name, record in found if "reason" in record}
    folder = Folder(
        path=path, entries=entries, label_names=label_names,
        skipped={name: record["message"] for name, record in bad.items()},
        reasons=Counter(record["reason"] for record in bad.values()),
    )  # fmt: skip
    if not entries:
        first = next(iter(folder.skipped.values()))
        raise InputError(
            f"{path}: none of its {len(bad)} videos can be used "
            f"({_counts(folder.reasons)}); the first: {first}"
        )
    return folder


def _list_videos(path: Path) -> tuple[Path, list[Path]]:
    if path.is_file():
        return path.parent, [path]
    if not path.is_dir():
        raise InputError(f"{path}: no such folder of videos: give an existing folder")
    files = sorted(
        file
        for file in path.rglob("*")
        if file.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
        and file.is_file()
    )
    if not files:
        raise InputError(
            f"{path}: no videos in this folder: add files that end in .mp4 (or "
            f"{' '.join(sorted(SUFFIXES - {'.mp4'}))})"
        )
    return path, files


def _scan_or_recall(
    root: Path, file: Path, known: Mapping[str, dict[str, Any]]
) -> tuple[str, dict[str, Any]]:
    name, status = _name(root, file), file.stat()
    stamp = [status.st_size, status.st_mtime_ns]
    if name in known and known[name]["stamp"] == stamp:
        return name, known[name]
    try:
        video, thumbnails = scan(file)
    except VideoError as error:
        return name, {"stamp": stamp, "reason": error.reason, "message": str(error)}
    return name, {
        "stamp": stamp,
        "time_base": [video.time_base.numerator, video.time_base.denominator],
        "size": [video.height, video.width],
        "pts": list(_pack(video.pts)),
        "shots": find_shots(thumbnails).tolist(),
    }


def _entry(
    root: Path,
    name: str,
    record: Mapping[str, Any],
    labels: Mapping[str, tuple[float, ...]],
    label_names: tuple[str, ...],
    cuts: bool,
) -> Entry:
    video = _video(root / name, record)
    shots = record["shots"] if cuts else [[0, len(video.pts)]]
    values = labels[name] if name in labels else (np.nan,) * len(label_names)
    return Entry(
        name=name, video=video, shots=np.array(shots, np.int64), labels=np.array(values, np.float32)
    )


def _video(path: Path, record: Mapping[str, Any]) -> Video:
    height, width = record["size"]
    time_base = Fraction(*record["time_base"])
    return Video(
        path=path, pts=_unpack(record["pts"]), time_base=time_base, height=height, width=width
    )


def _pack(pts: np.ndarray) -> Iterator[list[int]]:
    """The first timestamp, then [step, how often]: a constant rate is one pair."""
    yield [int(pts[0]), 1]
    steps = np.diff(pts)
    edges = np.flatnonzero(np.diff(steps, prepend=-1, append=-1))
    for start, end in zip(edges[:-1], edges[1:], strict=True):
        yield [int(steps[start]), int(end - start)]


def _unpack(runs: list[list[int]]) -> np.ndarray:
    return np.cumsum(np.repeat(*np.array(runs, np.int64).T))


def _read_index(index: Path_ | None) -> dict[str, dict[str, Any]]:
    if index is None or not Path(index).is_file():
        return {}
    try:
        content = json.loads(Path(index).read_text(encoding="utf-8"))
        return content["videos"] if content["version"] == INDEX_VERSION else {}
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{index}: not an index of videos ({error}): remove it") from error


def _name(root: Path, file: Path) -> str:
    return file.relative_to(root).as_posix()


def _counts(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
