"""Frames of one video file at given timestamps, decoded by PyAV.

A file is read twice at most. `scan` decodes it once from end to end, which is the only way to know
that it can be decoded, and keeps when each frame is shown and a thumbnail of it (for cut
detection). `read_frames` then fetches frames by their names in `Video.pts`: it seeks to the key
frame before the first one and decodes from there, or from the start where a seek may lead to other
frames (`seeking`). Times, never frame numbers times 1/fps, so a variable frame rate is exact.

A file that cannot be used raises `VideoError`, whose `reason` is one of a few words that a report
can count. What is done about bad timestamps is in `timestamps`, about colours, pixels and fields in
`screen`; `truncation` tells where a file was cut off. Audio is ignored. This file resizes nothing
but thumbnails.
"""

import contextlib
import io
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from jaxtyping import Float, Int, UInt8

from vldm_jax.data.faults import Fault, Path_, VideoError, fault_of, unreadable
from vldm_jax.data.opening import fraction, frames, open_video, packets, picture_of
from vldm_jax.data.screen import Screen
from vldm_jax.data.seeking import can_seek, frames_before, named_frames
from vldm_jax.data.timestamps import COUNTED, JOIN, timeline
from vldm_jax.data.truncation import Seen, goes_on, missing_bytes, missing_end, read_declared


@dataclass(frozen=True, eq=False, kw_only=True)
class Video:
    """What a whole decode found in one file.

    Attributes:
        path: the file.
        pts: what each frame is called by `read_frames`, in the order of showing: the decoder's
            timestamp, or a count where those are not unique (`timestamps`).
        ticks: when each frame is shown, in units of `time_base`, strictly increasing.
        time_base: seconds a tick.
        height: rows of a frame as shown.
        width: columns of a frame as shown: upright, with square pixels.
        seekable: whether frames can be reached without decoding all before them.
        notes: what was done that a person should know, a few words each.
    """

    path: Path
    pts: Int[np.ndarray, " n"]
    ticks: Int[np.ndarray, " n"]
    time_base: Fraction
    height: int
    width: int
    seekable: bool
    notes: tuple[str, ...]

    @property
    def times(self) -> Float[np.ndarray, " n"]:
        """Seconds from the first frame."""
        return (self.ticks - self.ticks[0]) * float(self.time_base)

    @property
    def seconds(self) -> float:
        """Seconds of footage, without gaps like those between joined parts."""
        steps = np.diff(self.ticks) * float(self.time_base)
        return float(steps[steps < JOIN].sum())

    @property
    def fps(self) -> float:
        """Frames per second where the video runs evenly; 0 for a single frame."""
        if len(self.ticks) < 2:
            return 0.0
        steps = np.diff(self.ticks)
        usual = np.median(steps)
        even = steps[(steps >= usual / 2) & (steps <= 1.5 * usual)]
        return float(1 / (np.mean(even) * self.time_base))


def scan(path: Path_, *, threads: int = 1) -> tuple[Video, UInt8[np.ndarray, "n h w 3"]]:
    """Decode a whole file once; return what it holds and a thumbnail of every frame.

    Raises:
        VideoError: if any part of it cannot be decoded or shown, or its timestamps cannot be used.
    """
    try:
        with _naming(path):
            return _scan(path, threads)
    except VideoError as error:
        if not error.passing:  # a failing disk may look like a damaged file
            _read_through(path)
        raise


def read_frames(
    path: Path_ | io.BytesIO, pts: Int[np.ndarray, " n"], *, threads: int = 1
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Yield the frames with these names, in order, as upright RGB with square pixels.

    Args:
        path: the file, or its content.
        pts: names as `scan` found them in `Video.pts`, in that order; repeats give the same again.
        threads: threads of the decoder.

    Raises:
        VideoError: if the file has changed since its scan and lacks one of them.
    """
    wanted = deque(int(value) for value in pts)
    counted = wanted[0] < COUNTED // 2
    with _naming(path):
        for from_start in (counted, True):
            with open_video(path) as container:
                stream, _ = picture_of(container, threads)
                from_start = from_start or not can_seek(container, stream)
                if from_start:
                    decoded = frames(container, stream)
                else:
                    decoded = frames_before(container, stream, wanted[0])
                screen = Screen(stream)
                for name, frame in named_frames(decoded, counted=counted):
                    if name != wanted[0]:
                        continue
                    image = screen.show(frame)
                    while wanted and wanted[0] == name:
                        yield image
                        wanted.popleft()
                    if not wanted:
                        return
            if from_start:
                break
        gone = f"no frame at tick {wanted[0]} any more"
        raise Fault("changed", gone, "start again, so that it is scanned as it is now")


@dataclass(kw_only=True)
class _Found(Seen):
    """What a decode has come across so far."""

    pts: list[int | None] = field(default_factory=list)
    thumbnails: list[np.ndarray] = field(default_factory=list)
    shape: tuple[int, int] | None = None


def _scan(path: Path_, threads: int) -> tuple[Video, UInt8[np.ndarray, "n h w 3"]]:
    with open_video(path) as container:
        stream, choices = picture_of(container, threads)
        declared, time_base = read_declared(container, stream), fraction(stream.time_base)
        _check_whole(missing_bytes(path, container, stream))
        found = _decode_all(container, stream)
        _check_whole(missing_bytes(path, container, stream))
        _check_whole(missing_end(path, container, declared, found))
        if found.shape is None or time_base is None:
            raise Fault("no frames", "nothing could be decoded")
        line = timeline(found.pts, time_base)
        more = goes_on(path, container, found)
        seekable = bool(line.names[0] > COUNTED // 2) and can_seek(container, stream)
    notes = [
        (choices > 1, "has several video streams: the default or largest one is taken"),
        (line.parts > 1, "its times start again: taken as joined recordings"),
        (more, "another file is joined to its end, of which nothing is read"),
        (not seekable, "frames cannot be sought: each clip is decoded from the start, or cached"),
    ]
    height, width = found.shape
    video = Video(
        path=Path(path), pts=line.names, ticks=line.ticks, time_base=time_base,
        height=height, width=width, seekable=seekable,
        notes=tuple(note for applies, note in notes if applies),
    )  # fmt: skip
    return video, np.stack([found.thumbnails[number] for number in line.shown])


def _check_whole(missing: str | None) -> None:
    if missing is not None:
        raise Fault("truncated", missing)


def _decode_all(container: av.container.InputContainer, stream: av.VideoStream) -> _Found:
    found, screen = _Found(), Screen(stream)
    damage: Fault | None = None
    for packet in packets(container):
        is_picture = packet.stream.index == stream.index  # its own is 0 in what ends a stream
        found.note(packet, is_picture)
        if is_picture and damage is None:
            damage = _decode(packet, screen, found)
        if damage is not None and found.torn is None:
            raise damage
    if fault := found.torn_end():
        raise fault
    return found


def _decode(packet: av.Packet, screen: Screen, found: _Found) -> Fault | None:
    """Take note of a packet's frames; return what is wrong with them."""
    try:
        for frame in packet.decode():
            if frame.is_corrupt:
                return Fault("corrupt", f"frame {len(found.pts)} is damaged")
            found.pts.append(frame.pts)
            found.thumbnails.append(screen.thumbnail(frame))
            found.shape = found.shape or screen.shape(frame)
    except av.FFmpegError as error:
        return fault_of(error, "corrupt")
    return None


@contextlib.contextmanager
def _naming(path: Path_ | io.BytesIO) -> Iterator[None]:
    """Give what goes wrong the name of the file."""
    try:
        yield
    except Fault as fault:
        raise VideoError.of(path, fault) from fault
    except av.FFmpegError as error:
        raise VideoError.of(path, fault_of(error, "corrupt")) from error
    except OSError as error:
        raise VideoError.of(path, unreadable(error)) from error


def _read_through(path: Path_) -> None:
    try:
        with open(path, "rb") as file:
            while file.read(1 << 20):
                pass
    except OSError as error:
        raise VideoError.of(path, unreadable(error)) from error
