"""Decoded and resized frames, each once, for windows that overlap.

Neighbouring windows share frames, so the cache is the set of (video, frame) pairs that any window
uses, and a window is a row of positions in it. In memory or as a file that processes map together;
the file's name is a hash of all that its content depends on, so a stale one is never used.
"""

import errno
import hashlib
import json
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from vldm_jax.core.errors import InputError
from vldm_jax.core.files import allocate, atomic_path
from vldm_jax.core.progress import tracked
from vldm_jax.data.folder import Entry
from vldm_jax.data.read import read_frames
from vldm_jax.data.transforms import resize_crop

Path_ = str | os.PathLike[str]
CHUNK = 256  # frames decoded by one job; all, where each job would decode from the start
Job = tuple[Entry, int, np.ndarray]


@dataclass(frozen=True, eq=False, kw_only=True)
class FrameFile:
    """An array of frames in a .npy file; travels to worker processes as its name."""

    path: Path

    @cached_property
    def array(self) -> UInt8[np.ndarray, "n h w 3"]:
        """The frames, mapped into memory and read-only."""
        return np.load(self.path, mmap_mode="r")

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}


@dataclass(frozen=True, eq=False, kw_only=True)
class FrameArray:
    """An array of frames in memory."""

    array: UInt8[np.ndarray, "n h w 3"]


def store_frames(
    entries: Sequence[Entry],
    video: Int[np.ndarray, " n"],
    frames: Int[np.ndarray, "n t"],
    *,
    height: int,
    width: int,
    cache: Path_,
    threads: int | None = None,
) -> tuple[FrameFile | FrameArray, Int[np.ndarray, "n t"]]:
    """Decode every frame that a window uses; return where they are and each window's rows there.

    Args:
        entries: the videos.
        video: for each window the number of its entry.
        frames: for each window its frame indices in that video.
        height: rows to store.
        width: columns to store.
        cache: "memory", or a folder for the file, which is used again if it is there already.
        threads: decoders at a time; the machine's cores by default.
    """
    longest = 1 + int(frames.max())
    used, rows = np.unique(video[:, None].astype(np.int64) * longest + frames, return_inverse=True)
    edges = np.searchsorted(used, np.arange(len(entries) + 1) * longest).tolist()
    jobs = [
        (entry, start, used[start : min(start + size, end)] % longest)
        for entry, first, end in zip(entries, edges[:-1], edges[1:], strict=True)
        for size in [CHUNK if entry.video.seekable else max(1, end - first)]
        for start in range(first, end, size)
    ]
    shape = (len(used), height, width, 3)
    rows = rows.reshape(frames.shape)
    if cache == "memory":
        array = _empty(shape)
        _fill(array.__setitem__, shape, jobs, threads)
        return FrameArray(array=array), rows
    file = Path(cache) / f"frames-{_fingerprint(entries, used, longest, shape)}.npy"
    if not _is_whole(file, shape):
        with atomic_path(file) as temporary:
            _write(temporary, shape, jobs, threads)
    return FrameFile(path=file), rows


def _empty(shape: tuple[int, ...]) -> np.ndarray:
    try:
        return np.empty(shape, np.uint8)
    except MemoryError:
        raise InputError(
            f'cache="memory" needs {math.prod(shape) / 2**30:.1f} GiB for {shape[0]} frames of '
            f"{shape[1]}x{shape[2]}: give a folder, config.data.cache=FOLDER, or a smaller size"
        ) from None


def _is_whole(file: Path, shape: tuple[int, ...]) -> bool:
    """Whether the file is there and as long as its frames; a cut one is made again."""
    try:
        if not file.is_file():
            return False
        array = np.load(file, mmap_mode="r")
        return array.shape == shape and array.dtype == np.uint8
    except (ValueError, EOFError):
        return False


def _write(path: Path, shape: tuple[int, ...], jobs: list[Job], threads: int | None) -> None:
    """Decode into a .npy file; if it does not fit on the disk, that is known before any work."""
    with path.open("wb") as file:
        header = np.lib.format.header_data_from_array_1_0(np.empty((0, *shape[1:]), np.uint8))
        np.lib.format.write_array_header_1_0(file, header | {"shape": shape})
        start = file.tell()
        file.flush()
        allocate(path, start + math.prod(shape))
        row_bytes = math.prod(shape[1:])

        def put(row: int, image: np.ndarray) -> None:
            # Not through a memory map: there, a failing disk is a SIGBUS and no error.
            written = os.pwrite(file.fileno(), np.ascontiguousarray(image), start + row * row_bytes)
            if written < row_bytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        _fill(put, shape, jobs, threads)


def _fill(
    put: Callable[[int, np.ndarray], Any],
    shape: tuple[int, ...],
    jobs: list[Job],
    threads: int | None,
) -> None:
    def run(job: Job) -> None:
        entry, start, frames = job
        images = read_frames(entry.video.path, entry.video.pts[frames])
        for row, image in enumerate(images, start):
            put(row, resize_crop(image, *shape[1:3]))

    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        done = pool.map(run, jobs)
        for _ in tracked(done, "decoding", len(jobs), "part"):
            pass


def _fingerprint(
    entries: Sequence[Entry], used: np.ndarray, longest: int, shape: tuple[int, ...]
) -> str:
    files = [
        (entry.name, status.st_size, status.st_mtime_ns)
        for entry in entries
        for status in [entry.video.path.stat()]
    ]
    text = json.dumps([2, files, longest, shape])
    return hashlib.sha256(text.encode() + used.astype("<i8").tobytes()).hexdigest()[:16]
