"""Whether a file was cut off before its end, by what the file itself says about its length.

    mp4 mov avi gif ...   the number of frames, where the container counts them
    mkv webm flv          the seconds that its head declares
    gif                   the last byte, which is always 0x3B

A transport or program stream (ts, m2ts, mpg) and a live recording declare nothing: cut between two
frames, they look whole. FFmpeg marks a packet that is cut in half; `read.scan` looks for that.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np

GIF_TRAILER = b"\x3b"
DECLARES_SECONDS = ("matroska", "flv")
"""Formats whose duration is a field of the head, not what FFmpeg found at the end of the file."""


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
    name = container.format.name.split(",")[0]
    known = name in DECLARES_SECONDS and container.duration is not None
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
    """

    packets: int = 0
    end: float = 0.0
    picture_end: float = 0.0
    starts: list[float] = field(default_factory=list)

    @property
    def longest(self) -> float:
        """Seconds that a frame stays, at most; 1 for a single frame, of which nothing is known."""
        return float(np.diff(sorted(self.starts)).max()) if len(self.starts) > 1 else 1.0

    def note(self, packet: av.Packet, is_picture: bool) -> None:
        """Take another packet into account."""
        self.packets += is_picture and packet.size > 0
        if packet.pts is None:
            return
        end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
        self.end = max(self.end, end)
        if is_picture:
            self.starts.append(float(packet.pts * packet.time_base))
            self.picture_end = max(self.picture_end, end)


def missing_end(declared: Declared, seen: Seen) -> str | None:
    """Return what is missing at the end of a file, or None if it is whole.

    A file is cut only if all that it declares is missing: a tag may be left from another file.
    How long the last frame stays is often not stored, so as much as the longest one is forgiven.
    """
    if seen.packets < declared.frames:
        return f"{seen.packets} of {declared.frames} frames are in the file"
    pairs = ((declared.file_seconds, seen.end), (declared.picture_seconds, seen.picture_end))
    known = [(says, has) for says, has in pairs if says is not None]
    if not known or any(says - has <= max(1.5 * seen.longest, 0.05) for says, has in known):
        return None
    says, has = known[-1]
    return f"{has:.2f} of {says:.2f} s are in the file"


def is_whole_gif(path: str | os.PathLike[str]) -> bool:
    """Return whether a GIF has its end mark; zeros behind it are padding."""
    with Path(path).open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
        return file.read().rstrip(b"\0").endswith(GIF_TRAILER)


def _seconds(tag: str) -> float | None:
    """Seconds of Matroska's DURATION tag as FFmpeg writes it: 00:00:03.961000000."""
    match = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", tag)
    if match is None:
        return None
    hours, minutes, seconds = (float(part) for part in match.groups())
    return 3600 * hours + 60 * minutes + seconds
