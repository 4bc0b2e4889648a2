"""Frames into one mp4, a segment at a time: memory does not grow with the length.

A segment is a file of its own until the last is there: then all are joined without being encoded
again, so a stopped run goes on at the segment where it was and leaves the same bytes.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vldm_jax.data.folder import read_folder
from vldm_jax.data.join import join_videos
from vldm_jax.data.source import decode_clip
from vldm_jax.data.write import write_video
from vldm_jax.typing import UInt8

SEGMENT = 240  # frames of one file
SHOWN = 8  # frames of a video on a contact sheet
WIDEST = 256  # pixels of a frame there

Frames = UInt8[np.ndarray, "t H W 3"]


def write_film(
    film: Callable[[int], Iterator[Frames]],
    count: int,
    fps: float,
    path: Path,
    said: Callable[[int], Any],
) -> None:
    """Write the first `count` frames of a film as an mp4.

    Args:
        film: number of a frame -> all from there on, in order, some at a time.
        count: number of frames, at most what the film has.
        fps: of the video.
        path: of the mp4; segments lie beside it until it is there.
        said: is told how many frames are written.
    """
    begins = range(0, count, SEGMENT)
    segments = [path.with_name(f"{path.stem}.{start:08}.mp4") for start in begins]
    missing = [start for start, file in zip(begins, segments, strict=True) if not file.exists()]
    if missing and not path.exists():
        start = missing[0]
        for frames in _cut(film(start), count - start):
            write_video(segments[start // SEGMENT], frames, fps)
            start += len(frames)
            said(start)
    if not path.exists():
        join_videos(segments, path)
    for segment in segments:
        segment.unlink(missing_ok=True)


def _cut(parts: Iterator[Frames], count: int) -> Iterator[Frames]:
    """Yield `count` frames in segments, of frames that come in parts of any length."""
    held, left = [], count
    for part in parts:
        part = part[: left - sum(map(len, held))]
        while sum(map(len, held)) + len(part) >= (size := min(SEGMENT, left)):
            need = size - sum(map(len, held))
            yield np.concatenate([*held, part[:need]])
            held, part, left = [], part[need:], left - size
            if not left:
                return
        held.append(part)


def shown(path: Path) -> UInt8[np.ndarray, "t h w 3"]:
    """Return a few frames of a video, spread over it, for a contact sheet."""
    entry = read_folder(path, cuts=False).entries[0]
    count = len(entry.video.times)
    which = np.linspace(0, count - 1, min(SHOWN, count)).astype(int)
    shrink = max(1, -(-entry.video.width // WIDEST))
    return decode_clip(entry, which, entry.video.height // shrink, entry.video.width // shrink)
