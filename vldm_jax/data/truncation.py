"""Whether a file was cut off before its end, or goes on behind it, by what the file says of itself.

    mp4 mov ...           where the last frame lies
    avi                   how long its chunks are (a dropped frame is counted, but not stored)
    mkv webm flv          the seconds that its head declares
    gif                   the last byte, which is always 0x3B
    others                the number of frames, where the container counts them

A transport or program stream (ts, m2ts, mpg) and a live recording declare nothing: cut between two
frames, they look whole. FFmpeg marks a packet that was torn: the last one of a file that was cut,
the last one of a part that was joined to another, or one in the middle, where data are missing. Of
an mp4, flv or wmv that was joined to another FFmpeg reads the first only.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np

from vldm_jax.data.faults import Fault, Path_
from vldm_jax.data.opening import fraction

GIF_TRAILER = b"\x3b"
DECLARES_SECONDS = ("matroska", "flv")
"""Formats whose duration is a field of the head, not what FFmpeg found at the end of the file."""

NEAR = 16  # packets after a torn one within which a joined part starts, or the file ends
UNREAD = 0.1  # of a file without frames: more than any index at its end
JUMP = 1.0  # seconds forward that tell a joined part from a late frame


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What a file says about its length; None or 0 where it does not say.

    Attributes:
        frames: of the picture.
        file_seconds: until its longest stream ends; sound may outlast the picture.
        picture_seconds: until the picture ends.
    """

    frames: int
    file_seconds: float | None
    picture_seconds: float | None


def read_declared(container: av.container.InputContainer, stream: av.VideoStream) -> Declared:
    """Return what an open file says about the length of `stream`, its picture."""
    known = _format(container) in DECLARES_SECONDS and container.duration is not None
    tag = stream.metadata["DURATION"] if known and "DURATION" in stream.metadata else ""
    return Declared(
        frames=stream.frames,
        file_seconds=container.duration / av.time_base if known else None,
        picture_seconds=_seconds(tag),
    )


@dataclass(kw_only=True)
class Seen:
    """How far the packets of a file go, as one reads them.

    Attributes:
        packets: of the picture.
        end: seconds at which the last packet of any stream ends.
        picture_end: seconds at which the last packet of the picture ends.
        starts: seconds at which the picture's frames start, in no order.
        torn: the number of a packet of the picture that is not whole, unless a join explains it.
        last: seconds at which the last packet of the picture was to be decoded.
        place: the byte of the file at which the last packet of any stream ends.
    """

    packets: int = 0
    end: float = 0.0
    picture_end: float = 0.0
    starts: list[float] = field(default_factory=list)
    torn: int | None = None
    last: float | None = None
    place: int = 0

    @property
    def longest(self) -> float:
        """Seconds that a frame stays, at most; 1 for a single frame, of which nothing is known."""
        return float(np.diff(sorted(self.starts)).max()) if len(self.starts) > 1 else 1.0

    def note(self, packet: av.Packet, is_picture: bool) -> None:
        """Take another packet into account."""
        time_base = fraction(packet.time_base)
        if packet.size == 0 or time_base is None:
            return
        self.place = max(self.place, (packet.pos or 0) + packet.size)
        if is_picture:
            self.packets += 1
            self._note_tear(packet, float(time_base))
        if packet.pts is None:
            return
        end = float((packet.pts + (packet.duration or 0)) * time_base)
        self.end = max(self.end, end)
        if is_picture:
            self.starts.append(float(packet.pts * time_base))
            self.picture_end = max(self.picture_end, end)

    def torn_end(self) -> Fault | None:
        """Return what a torn packet means, once the file has been read to its end."""
        if self.torn is None:
            return None
        if self.packets - self.torn <= NEAR:
            return Fault("truncated", f"cut off after {self.torn} frames")
        return Fault("corrupt", f"data are missing near frame {self.torn}")

    def _note_tear(self, packet: av.Packet, time_base: float) -> None:
        tick = packet.pts if packet.dts is None else packet.dts
        now = None if tick is None else tick * time_base
        if self.torn is not None and self.packets - self.torn <= NEAR and packet.is_keyframe:
            if now is not None and self.last is not None and not 0 <= now - self.last < JUMP:
                self.torn = None
        if packet.is_corrupt and self.torn is None:
            self.torn = self.packets
        self.last = self.last if now is None else now


def missing_bytes(
    path: Path_, container: av.container.InputContainer, stream: av.VideoStream
) -> str | None:
    """Return what is missing of a file by the places and lengths that it states, None for nothing.

    An mp4 in fragments is known only once it has been read.
    """
    name = _format(container)
    if name == "gif":
        return None if _is_whole_gif(path) else "its end mark is missing"
    if name == "mov":
        end = max((entry.pos + entry.size for entry in stream.index_entries), default=0)
        missing = max(0, end - container.size)
    else:
        missing = (_missing_of_riff(path) or 0) if name == "avi" else 0
    return f"{missing} bytes are missing at its end" if missing else None


def missing_end(
    path: Path_, container: av.container.InputContainer, declared: Declared, seen: Seen
) -> str | None:
    """Return what is missing at the end of a file that was read, or None if it is whole.

    Frames are not counted where their places are known: an edit leaves some out. Of lengths, all
    that are declared must be missing: a tag may be left from another file. How long the last frame
    stays is often not stored, so as much as the longest one is forgiven.
    """
    name = _format(container)
    counts = name != "mov" and (name != "avi" or _missing_of_riff(path) is None)
    if counts and seen.packets < declared.frames:
        return f"{seen.packets} of {declared.frames} frames are in the file"
    pairs = ((declared.file_seconds, seen.end), (declared.picture_seconds, seen.picture_end))
    known = [(says, has) for says, has in pairs if says is not None]
    if not known or any(says - has <= max(1.5 * seen.longest, 0.05) for says, has in known):
        return None
    says, has = known[-1]
    return f"{has:.2f} of {says:.2f} s are in the file"


def goes_on(path: Path_, container: av.container.InputContainer, seen: Seen) -> bool:
    """Return whether something is joined to the end of a file that nobody would read."""
    if _format(container) == "mov":
        return _count_boxes(path, b"moov") > 1
    if _format(container) not in ("flv", "asf", "mpegts", "mpeg"):
        return False
    return container.size - seen.place > max(4096, UNREAD * container.size)


def _format(container: av.container.InputContainer) -> str:
    return container.format.name.split(",")[0]


def _is_whole_gif(path: Path_) -> bool:
    """Whether a GIF has its end mark; zeros behind it are padding."""
    with Path(path).open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
        return file.read().rstrip(b"\0").endswith(GIF_TRAILER)


def _missing_of_riff(path: Path_) -> int | None:
    """Bytes that the last RIFF chunk of an AVI lacks; None if its length was never filled in."""
    with Path(path).open("rb") as file:
        size, at, missing = file.seek(0, os.SEEK_END), 0, None
        while at + 8 <= size:
            file.seek(at)
            head = file.read(8)
            length = int.from_bytes(head[4:], "little")
            if head[:4] != b"RIFF" or not length:
                break
            at += 8 + length
            missing = max(0, at - size)
            at += length % 2
    return missing


def _count_boxes(path: Path_, name: bytes) -> int:
    """How many boxes of this name an mp4 has at its top."""
    with Path(path).open("rb") as file:
        size, at, count = file.seek(0, os.SEEK_END), 0, 0
        while at + 16 <= size:
            file.seek(at)
            head = file.read(16)
            length = int.from_bytes(head[:4], "big")
            length = int.from_bytes(head[8:], "big") if length == 1 else length
            if length < 8:
                break
            count += head[4:8] == name
            at += length
    return count


def _seconds(tag: str) -> float | None:
    """Seconds of Matroska's DURATION tag as FFmpeg writes it: 00:00:03.961000000."""
    match = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", tag)
    if match is None:
        return None
    hours, minutes, seconds = (float(part) for part in match.groups())
    return 3600 * hours + 60 * minutes + seconds
