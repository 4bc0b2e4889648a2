"""A folder of videos: what is in it, what is usable, and why the rest is not.

Every video is decoded once from end to end (`read.scan`), so that a damaged one is known before
training starts, and searched for cuts. What that found can be kept in an index file (`index`). A
bad video among good ones is skipped and listed under its reason; only a folder in which nothing is
usable is an error.
"""

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from vldm_jax.core.errors import InputError
from vldm_jax.core.files import check_writable
from vldm_jax.core.progress import tracked
from vldm_jax.core.words import counted, listed
from vldm_jax.data.faults import Path_, VideoError, counts_of, shown, unreadable
from vldm_jax.data.index import (
    Record,
    read_index,
    record_of,
    record_of_fault,
    video_of,
    write_index,
)
from vldm_jax.data.labels import FolderLabels, read_labels
from vldm_jax.data.listing import describe_others, list_videos
from vldm_jax.data.read import Video, scan
from vldm_jax.data.shots import find_shots


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
        left_out: reason -> the names of the videos that are skipped for it.
        others: kind -> number of files that are no videos by their names.
        remarks: what a person should know about the index and the labels, a line each.
    """

    path: Path
    entries: tuple[Entry, ...]
    label_names: tuple[str, ...]
    skipped: Mapping[str, str]
    left_out: Mapping[str, tuple[str, ...]]
    others: Mapping[str, int]
    remarks: tuple[str, ...] = ()

    @property
    def reasons(self) -> dict[str, int]:
        """Reason -> number of videos skipped for it."""
        return {reason: len(names) for reason, names in self.left_out.items()}

    def report(self) -> str:
        """Return lines that say what is kept, and what is skipped and why."""
        seconds = sum(entry.video.seconds for entry in self.entries)
        shots = sum(len(entry.shots) for entry in self.entries)
        what = f"{counted(len(self.entries), 'video')}, {counted(shots, 'shot')}"
        lines = [f"{shown(self.path)}: {what}, {seconds:.1f} s"]
        lines += [f"  {remark}" for remark in self.remarks]
        lines += [f"  skipped {count}: {reason}" for reason, count in sorted(self.reasons.items())]
        lines += [f"    {message}" for _, message in sorted(self.skipped.items())]
        lines += list(_describe_notes(self.entries))
        lines += [f"  passed over {describe_others(self.others)}"] if self.others else []
        return "\n".join(lines)


def read_folder(
    path: Path_, *, index: Path_ | None = None, cuts: bool = True, threads: int | None = None
) -> Folder:
    """Scan a folder of videos recursively; hidden files and other suffixes are only counted.

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
    listing = list_videos(path)
    labels = read_labels(listing.root)
    known, remark = read_index(Path(index)) if index is not None else ({}, None)
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        scans = pool.map(lambda file: _scan_or_recall(listing.root, file, known), listing.files)
        found = dict(tracked(scans, "scanning", len(listing.files), "video"))
    if index is not None:
        write_index(Path(index), found)
    found |= {name: record_of_fault(error) for name, error in listing.faults.items()}
    entries = tuple(
        _entry(listing.root / name, name, record, labels, cuts)
        for name, record in found.items()
        if "reason" not in record
    )
    bad = {name: record for name, record in found.items() if "reason" in record}
    folder = Folder(
        path=path, entries=entries, label_names=labels.names,
        skipped={name: record["message"] for name, record in bad.items()},
        left_out=by_reason((record["reason"], name) for name, record in bad.items()),
        others=listing.others, remarks=tuple(filter(None, (remark, labels.remark))),
    )  # fmt: skip
    if not entries:
        first = next(iter(folder.skipped.values()))
        raise InputError(
            f"{shown(path)}: none of its {counted(len(bad), 'video')} can be used "
            f"({counts_of(folder.reasons)}); the first: {first}"
        )
    return folder


def _scan_or_recall(root: Path, file: Path, known: Mapping[str, Record]) -> tuple[str, Record]:
    name = file.relative_to(root).as_posix()
    try:
        stamp = _stamp(file)
        if name in known and known[name]["stamp"] == stamp:
            return name, known[name]
        video, thumbnails = scan(file)
        record = record_of(video, find_shots(thumbnails))
        record["passing"] = _stamp(file) != stamp  # somebody writes it now
    except VideoError as error:
        record = record_of_fault(error)
    except OSError as error:
        record, stamp = record_of_fault(VideoError.of(file, unreadable(error))), None
    return name, record | {"stamp": stamp}


def _stamp(file: Path) -> list[int]:
    status = file.stat()
    return [status.st_size, status.st_mtime_ns]


def _entry(
    path: Path,
    name: str,
    record: Record,
    labels: FolderLabels,
    cuts: bool,
) -> Entry:
    video = video_of(path, record)
    shots = record["shots"] if cuts else [[0, len(video.pts)]]
    given = name in labels.values
    values = labels.values[name] if given else (np.nan,) * len(labels.names)
    return Entry(
        name=name, video=video, shots=np.array(shots, np.int64), labels=np.array(values, np.float32)
    )


def _describe_notes(entries: Iterable[Entry]) -> Iterable[str]:
    """Lines that say of how many videos a note is, and name the first."""
    names: dict[str, list[str]] = {}
    for entry in entries:
        for note in entry.video.notes:
            names.setdefault(note, []).append(shown(entry.name))
    for note, of in sorted(names.items()):
        yield f"  noted {len(of)}: {note} ({listed(of)})"


def by_reason(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Return {reason: names} of (reason, name of a video), names in their order."""
    found: dict[str, list[str]] = {}
    for reason, name in sorted(pairs):
        found.setdefault(reason, []).append(name)
    return {reason: tuple(names) for reason, names in found.items()}
