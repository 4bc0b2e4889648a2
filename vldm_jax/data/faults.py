"""Why a video cannot be used, in a few words that a report can count.

What looks into a file raises `Fault` and does not know the file's name; `read` adds the name and
makes it a `VideoError`. Some faults pass: a file that cannot be read now (permissions, a failing
disk, no memory) may be fine tomorrow, so nobody may remember it as bad.
"""

import errno
import io
import os
from collections.abc import Mapping
from typing import Any

import av

from vldm_jax.core.errors import InputError

Path_ = str | os.PathLike[str]
REENCODE, REMOVE = "re-encode the file or remove it", "remove it"
GET_AGAIN = "get the file again or remove it"
LACKING = frozenset(("not a video", "truncated", "no frames"))
"""Reasons of files that lack what no encoder could bring back."""

PASSING = frozenset((errno.EACCES, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE))
"""Errors of the system that say nothing about what a file holds."""


class Fault(Exception):
    """Something makes a video unusable.

    Attributes:
        reason: the kind of fault, for counting: "not a video", "truncated", "corrupt", ...
        detail: what exactly, for a person.
        remedy: what to do about it; by default what fits the reason.
        passing: whether it may be gone at the next try.
    """

    def __init__(
        self, reason: str, detail: str, remedy: str | None = None, *, passing: bool = False
    ):
        super().__init__(reason, detail)
        self.reason, self.detail, self.passing = reason, detail, passing
        self.remedy = remedy or (GET_AGAIN if reason in LACKING else REENCODE)


class VideoError(InputError):
    """One video file cannot be used.

    Attributes:
        reason: the kind of fault, for counting.
        passing: whether it may be gone at the next try, so that it must not be remembered.
    """

    def __init__(
        self,
        path: Path_ | io.BytesIO,
        reason: str,
        detail: str,
        remedy: str = REENCODE,
        passing: bool = False,
    ):
        name = "a stored clip" if isinstance(path, io.BytesIO) else shown(path)
        super().__init__(f"{name}: {reason} ({detail}): {remedy}")
        self.reason, self.passing = reason, passing
        self._parts = name, reason, detail, remedy, passing

    @classmethod
    def of(cls, path: Path_ | io.BytesIO, fault: Fault) -> "VideoError":
        """Return the error of a file that has this fault."""
        return cls(path, fault.reason, fault.detail, fault.remedy, fault.passing)

    def __reduce__(self) -> tuple[Any, ...]:
        # Workers send their errors home pickled, which by itself would keep the message only.
        return VideoError, self._parts


def unreadable(error: OSError) -> Fault:
    """Return the fault of a file or folder that the system does not let be read now."""
    why = (os.strerror(error.errno) if error.errno else str(error)).lower()
    return Fault("unreadable", why, "make it readable and try again", passing=True)


def fault_of(error: av.FFmpegError, reason: str) -> Fault:
    """Return the fault behind an error of FFmpeg, called `reason` unless the system is to blame."""
    if isinstance(error, OSError) and error.errno == errno.EACCES:
        return unreadable(error)
    detail = error.strerror or str(error)
    if error.errno in PASSING:
        return Fault(reason, detail, "try again", passing=True)
    return Fault(reason, detail)


def shown(path: Path_) -> str:
    r"""Return a path as one line of text that prints anywhere.

    Bytes that are not UTF-8 and what does not print come out escaped: `caf\xe9.mp4`.
    """
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def counts_of(reasons: Mapping[str, int]) -> str:
    """Return "2 corrupt, 1 truncated": how many videos each reason rules out."""
    return ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
