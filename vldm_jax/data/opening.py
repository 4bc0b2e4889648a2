"""A video file opened, and the one stream of it that is the picture.

A file is opened by the system and handed to FFmpeg as a descriptor, never as a name: in a name a
colon would be a protocol (`concat:a`), `%d` a sequence of images, and a playlist could make FFmpeg
open other files. Titles that are not UTF-8 do not matter here.
"""

import contextlib
import io
import os
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
from av.stream import Disposition

from vldm_jax.data.faults import REMOVE, Fault, Path_, fault_of, unreadable

MAX_PIXELS = 8192 * 8192
"""Pixels of the largest frame: a decoder holds up to 17, and a small file can ask for any size."""

NOT_THE_PICTURE = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.dependent
_LIMITS = {"max_pixels": str(MAX_PIXELS)}
# Before PyAV 19, a title that is not UTF-8 was an error unless one asked.
_TITLES = {"metadata_errors": "surrogateescape"} if int(av.__version__.split(".")[0]) < 19 else {}


@contextlib.contextmanager
def open_video(source: Path_ | io.BytesIO) -> Iterator[av.container.InputContainer]:
    """Open a file, or its content, for FFmpeg.

    Raises:
        Fault: if it cannot be opened or is no video.
    """
    with contextlib.ExitStack() as stack:
        kwargs: dict[str, Any] = {"options": _LIMITS, **_TITLES}
        file: str | io.BytesIO = "fd:"
        if isinstance(source, io.BytesIO):
            file = source
        else:
            try:
                descriptor = os.open(source, os.O_RDONLY)
            except OSError as error:
                raise unreadable(error) from error
            stack.callback(os.close, descriptor)
            if os.fstat(descriptor).st_size == 0:
                raise Fault("not a video", "it is empty")
            kwargs["container_options"] = {"fd": str(descriptor), "protocol_whitelist": "fd"}
        try:
            container = stack.enter_context(av.open(file, **kwargs))
        except av.FFmpegError as error:
            raise fault_of(error, "not a video") from error
        yield container


def picture_of(
    container: av.container.InputContainer, threads: int = 1
) -> tuple[av.VideoStream, int]:
    """Return the stream that a player would show, ready to decode, and how many it was chosen from.

    Covers and thumbnails are none. Of several, the one marked as default is taken, then the
    largest, then the first.

    Raises:
        Fault: if there is none, or none that can be decoded within bounds.
    """
    if not container.streams.video:
        raise Fault("not a video", "it has no video stream", REMOVE)
    moving = [s for s in container.streams.video if not s.disposition & NOT_THE_PICTURE]
    if not moving:
        raise Fault("not a video", "its only picture is a cover", REMOVE)
    known = [s for s in moving if s.codec_context is not None]
    if not known:
        raise Fault("unknown codec", "FFmpeg has no decoder for its video stream")
    stream = max(known, key=lambda s: (bool(s.disposition & Disposition.default), _pixels(s)))
    context = stream.codec_context
    if context.name == "webp" and not _pixels(stream):  # FFmpeg 9 can
        raise Fault("unknown codec", "FFmpeg cannot decode animated WebP", "make it an mp4 or GIF")
    if not 0 < _pixels(stream) <= MAX_PIXELS:  # none if probing came upon one that is too large
        stated = f"{context.height}x{context.width}" if _pixels(stream) else "no or too many"
        raise Fault("too large", f"frames of {stated} pixels, at most 8192x8192", "make it smaller")
    context.options = _LIMITS
    context.thread_count = threads
    context.thread_type = "AUTO" if threads > 1 else "SLICE"
    return stream, len(known)


def packets(
    container: av.container.InputContainer, stream: av.VideoStream | None = None
) -> Iterator[av.Packet]:
    """Yield the packets of one stream, or of all, and the empty ones that end them."""
    # A stream that shows up late has no place among PyAV's, which fails over it at the very end.
    with contextlib.suppress(IndexError):
        yield from container.demux(*(() if stream is None else (stream,)))


def frames(
    container: av.container.InputContainer, stream: av.VideoStream
) -> Iterator[av.VideoFrame]:
    """Yield the frames of a stream from where the container is."""
    for packet in packets(container, stream):
        yield from packet.decode()


def fraction(value: Any) -> Fraction | None:
    """Return a rational of FFmpeg as a `Fraction`, None for 0/1 and 1/0, which mean unknown."""
    if value is None or value.numerator <= 0 or value.denominator <= 0:
        return None
    return Fraction(value.numerator, value.denominator)


def _pixels(stream: av.VideoStream) -> int:
    return stream.codec_context.width * stream.codec_context.height
