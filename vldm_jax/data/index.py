"""What a scan of a folder found, kept in a JSON file.

    {"version": 3, "ffmpeg": "8.1", "sum": "...", "videos": {name: record}}

A record is trusted while its file keeps size and time of change. Faults that pass are not kept. The
sum is of all records, so that a damaged index is known as one; then, as after a change of version
or of FFmpeg, everything is scanned again. A file that is no index is refused: it would be lost.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from jaxtyping import Int

from vldm_jax.core.errors import InputError
from vldm_jax.core.files import write_json
from vldm_jax.core.json_files import read_json
from vldm_jax.data.faults import VideoError
from vldm_jax.data.read import Video

VERSION = 3  # 1 took cut mkv, webm and gif files for whole, 2 refused or misread many kinds
MAX_BYTES = 1 << 30
Record = dict[str, Any]


def read_index(path: Path) -> tuple[dict[str, Record], str | None]:
    """Return the records of an index, and what a person should know if it cannot be used.

    Raises:
        InputError: if the file is no index, or cannot be read.
    """
    if not path.exists():
        return {}, None
    content = read_json(path, "an index of videos", remedy="remove it", max_bytes=MAX_BYTES)
    if not {"version", "videos"} <= content.keys():
        raise InputError(f"{path}: not an index of videos (no 'version', 'videos'): remove it")
    videos = content["videos"]
    if content["version"] != VERSION or content.get("ffmpeg") != av.ffmpeg_version_info:
        return {}, f"{path} was made by another version: all videos were scanned again"
    if "sum" not in content or content["sum"] != _sum(videos):
        return {}, f"{path} was damaged: all videos were scanned again"
    return videos, None


def write_index(path: Path, videos: Mapping[str, Record]) -> None:
    """Write the records that stay true, whole or not at all."""
    kept = {name: record for name, record in videos.items() if not record["passing"]}
    head = {"version": VERSION, "ffmpeg": av.ffmpeg_version_info, "sum": _sum(kept)}
    write_json(path, head | {"videos": kept})


def record_of(video: Video, shots: Int[np.ndarray, "shots 2"]) -> Record:
    """Return a video's part of the index; `video_of` is the way back."""
    return {
        "passing": False,
        "time_base": [video.time_base.numerator, video.time_base.denominator],
        "size": [video.height, video.width],
        "pts": list(_pack(video.pts)),
        "ticks": list(_pack(video.ticks)),
        "seekable": video.seekable,
        "notes": list(video.notes),
        "shots": shots.tolist(),
    }


def record_of_fault(error: VideoError) -> Record:
    """Return the part of a video that cannot be used."""
    return {"passing": error.passing, "reason": error.reason, "message": str(error)}


def video_of(path: Path, record: Record) -> Video:
    """Return the video that a record describes."""
    height, width = record["size"]
    return Video(
        path=path, pts=_unpack(record["pts"]), ticks=_unpack(record["ticks"]),
        time_base=Fraction(*record["time_base"]), height=height, width=width,
        seekable=record["seekable"], notes=tuple(record["notes"]),
    )  # fmt: skip


def _sum(videos: Any) -> str:
    text = json.dumps(videos, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _pack(pts: np.ndarray) -> Iterator[list[int]]:
    """The first timestamp, then [step, how often]: a constant rate is one pair."""
    yield [int(pts[0]), 1]
    steps = np.diff(pts)
    edges = np.flatnonzero(np.diff(steps, prepend=-1, append=-1))
    for start, end in zip(edges[:-1], edges[1:], strict=True):
        yield [int(steps[start]), int(end - start)]


def _unpack(runs: list[list[int]]) -> np.ndarray:
    return np.cumsum(np.repeat(*np.array(runs, np.int64).T))
