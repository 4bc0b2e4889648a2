"""Frames of one video file at given timestamps, decoded by PyAV.

A file is read twice at most. `scan` decodes it once from end to end, which is the only way to know
that it can be decoded, and keeps each frame's timestamp and a thumbnail (for cut detection).
`read_frames` then fetches frames by timestamp: it seeks to the key frame before the first one and
decodes from there. Timestamps, never frame numbers times 1/fps, so a variable frame rate is exact.

A file that cannot be used raises `VideoError`, whose `reason` is one of a few words that a report
can count; `truncation` tells where a file was cut off. Audio is ignored. This
file resizes nothing but thumbnails.
"""

import io
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from jaxtyping import Float, Int, UInt8

from vldm_jax.core.errors import InputError
from vldm_jax.data.truncation import Seen, is_whole_gif, missing_end, read_declared

Path_ = str | os.PathLike[str]
THUMBNAIL = (16, 28)


class VideoError(InputError):
    """One video file cannot be used.

    Attributes:
        reason: the kind of fault, for counting: "not a video", "truncated", "corrupt", ...
    """

    def __init__(self, path: Path_ | io.BytesIO, reason: str, detail: str):
        super().__init__(str(path), reason, detail)  # what a copy in another process is made of
        self.reason = reason

    def __str__(self) -> str:
        """Return the one line for a person."""
        path, reason, detail = self.args
        return f"{path}: {reason} ({detail}): re-encode the file or remove it"


@dataclass(frozen=True, eq=False, kw_only=True)
class Video:
    """What a whole decode found in one file.

    Attributes:
        path: the file.
        pts: presentation timestamps in units of `time_base`, strictly increasing.
        time_base: seconds a tick.
        height: rows of a frame as shown, after rotation.
        width: columns of a frame as shown, after rotation.
    """

    path: Path
    pts: Int[np.ndarray, " n"]
    time_base: Fraction
    height: int
    width: int

    @property
    def times(self) -> Float[np.ndarray, " n"]:
        """Seconds from the first frame."""
        return (self.pts - self.pts[0]) * float(self.time_base)

    @property
    def fps(self) -> float:
        """Mean frames per second; 0 for a single frame."""
        return (len(self.pts) - 1) / self.times[-1] if len(self.pts) > 1 else 0.0


def scan(path: Path_, *, threads: int = 1) -> tuple[Video, UInt8[np.ndarray, "n h w 3"]]:
    """Decode a whole file once; return what it holds and a thumbnail of every frame.

    Raises:
        VideoError: if any part of it cannot be decoded, or its timestamps cannot be used.
    """
    stream = None
    try:
        with av.open(str(path)) as container:
            stream = _video_stream(path, container, threads)
            if container.format.name == "gif" and not is_whole_gif(path):
                raise VideoError(path, "truncated", "its end mark is missing")
            declared, time_base = read_declared(container, stream), stream.time_base
            found = _decode_all(path, container, stream)
    except av.FFmpegError as error:
        reason = "not a video" if stream is None else "corrupt"
        raise VideoError(path, reason, error.strerror or str(error)) from error
    if fault := missing_end(declared, found):
        raise VideoError(path, "truncated", fault)
    if found.shape is None or time_base is None:
        raise VideoError(path, "no frames", "nothing could be decoded")
    pts = np.array([pts for pts in found.pts if pts is not None], np.int64)
    if len(pts) < len(found.pts) or np.any(np.diff(pts) <= 0):
        raise VideoError(path, "no timestamps", "frames have no increasing times")
    height, width = found.shape
    video = Video(path=Path(path), pts=pts, time_base=time_base, height=height, width=width)
    return video, np.stack(found.thumbnails)


def read_frames(
    path: Path_ | io.BytesIO, pts: Int[np.ndarray, " n"], *, threads: int = 1
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Yield the frames with these timestamps, in order, as upright RGB.

    Args:
        path: the file, or its content.
        pts: increasing timestamps as `scan` found them; repeats give the same frame again.
        threads: threads of the decoder.

    Raises:
        VideoError: if the file has changed since its scan and lacks one of them.
    """
    wanted = [int(value) for value in pts]
    position = 0
    try:
        with av.open(path if isinstance(path, io.BytesIO) else str(path)) as container:
            stream = _video_stream(path, container, threads)
            rgb = VideoReformatter()
            for frame in _frames_from(container, stream, wanted[0]):
                if frame.pts != wanted[position]:
                    continue
                image = _upright(rgb, frame)
                while position < len(wanted) and wanted[position] == frame.pts:
                    yield image
                    position += 1
                if position == len(wanted):
                    return
    except av.FFmpegError as error:
        raise VideoError(path, "corrupt", error.strerror or str(error)) from error
    raise VideoError(path, "changed", f"no frame at tick {wanted[position]} any more")


@dataclass(kw_only=True)
class _Found(Seen):
    """What a decode has come across so far."""

    pts: list[int | None] = field(default_factory=list)
    thumbnails: list[np.ndarray] = field(default_factory=list)
    shape: tuple[int, int] | None = None


def _decode_all(
    path: Path_, container: av.container.InputContainer, stream: av.VideoStream
) -> _Found:
    found = _Found()
    small = VideoReformatter()  # one for the file: it keeps its tables, a frame's own does not
    for packet in container.demux():
        is_picture = packet.stream_index == stream.index
        found.note(packet, is_picture)
        if not is_picture:
            continue
        if packet.is_corrupt:
            raise VideoError(path, "truncated", f"cut off after {found.packets} packets")
        for frame in packet.decode():
            if frame.is_corrupt:
                raise VideoError(path, "corrupt", f"frame {len(found.pts)} is damaged")
            found.pts.append(frame.pts)
            found.thumbnails.append(_thumbnail(small, frame))
            found.shape = found.shape or _shown_shape(frame)
    return found


def _frames_from(
    container: av.container.InputContainer, stream: av.VideoStream, first: int
) -> Iterator[av.VideoFrame]:
    """Frames from the key frame before `first`; all of them where the file has no usable index."""
    container.seek(first, stream=stream, backward=True)
    frames = container.decode(stream)
    frame = next(frames, None)
    if frame is None or frame.pts is None or frame.pts > first or frame.is_corrupt:
        container.seek(0, stream=stream, backward=True)
        return container.decode(stream)
    return itertools.chain([frame], frames)


def _video_stream(
    path: Path_ | io.BytesIO, container: av.container.InputContainer, threads: int
) -> av.VideoStream:
    if not container.streams.video:
        raise VideoError(path, "not a video", "it has no video stream")
    stream = container.streams.video[0]
    stream.thread_count = threads
    stream.thread_type = "AUTO" if threads > 1 else "SLICE"
    return stream


def _thumbnail(reformatter: VideoReformatter, frame: av.VideoFrame) -> np.ndarray:
    height, width = THUMBNAIL
    small = reformatter.reformat(frame, width, height, format="rgb24", interpolation="AREA")
    return small.to_ndarray()


def _upright(reformatter: VideoReformatter, frame: av.VideoFrame) -> np.ndarray:
    image = reformatter.reformat(frame, format="rgb24").to_ndarray()
    turns = _quarter_turns(frame)
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def _shown_shape(frame: av.VideoFrame) -> tuple[int, int]:
    shape = (frame.height, frame.width)
    return shape[::-1] if _quarter_turns(frame) % 2 else shape


def _quarter_turns(frame: av.VideoFrame) -> int:
    """Counterclockwise turns that put the frame upright, from the container's display matrix."""
    return round(frame.rotation / 90)
