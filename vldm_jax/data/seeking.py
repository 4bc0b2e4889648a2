"""Reaching a frame without decoding the whole file, only where it is the same frame.

A seek is trusted in containers whose index gives every packet its own time of showing. Others are
decoded from their start: transport and program streams, whose clock may wrap or start again and
whose timestamps after a seek differ from those before it, and GIFs, whose frames build on the last;
AVI, and Matroska in the manner of AVI, store the order of decoding only, so they are sought only if
that is the order of showing.
"""

import contextlib
import itertools
from collections.abc import Iterator

import av

from vldm_jax.data.opening import fraction, frames
from vldm_jax.data.timestamps import COUNTED

INDEXED = frozenset(
    "mov matroska avi asf flv mxf mxf_opatom nut ivf dv yuv4mpegpipe".split()
)  # the first of FFmpeg's names for a format
BACK = (0, 1, 8)  # seconds before the wanted frame at which a key frame is looked for


def can_seek(container: av.container.InputContainer, stream: av.VideoStream) -> bool:
    """Return whether decoding from a key frame gives the same as decoding from the start."""
    name = container.format.name.split(",")[0]
    if name not in INDEXED or fraction(stream.time_base) is None:
        return False
    as_avi = name in ("avi", "asf") or (name == "matroska" and stream.codec_tag.strip("\0"))
    return not as_avi or not stream.codec_context.has_b_frames


def frames_before(
    container: av.container.InputContainer, stream: av.VideoStream, name: int
) -> Iterator[av.VideoFrame]:
    """Yield frames from a key frame before the one with this timestamp, as far as that works."""
    time_base = fraction(stream.time_base)
    assert time_base is not None  # `can_seek`
    with contextlib.suppress(av.FFmpegError):
        for seconds in BACK:
            container.seek(name - round(seconds / time_base), stream=stream, backward=True)
            sought = frames(container, stream)
            first = next(sought, None)
            if first is None or not first.key_frame or first.pts is None or first.pts > name:
                continue
            yield first
            yield from itertools.takewhile(lambda frame: not frame.is_corrupt, sought)
            return


def named_frames(
    decoded: Iterator[av.VideoFrame], *, counted: bool
) -> Iterator[tuple[int | None, av.VideoFrame]]:
    """Yield the frames that are shown with their names; see `timestamps`.

    Args:
        decoded: frames in the order of decoding.
        counted: whether a name is the number of frames before, from the start of the file.
    """
    pairs = itertools.pairwise(itertools.chain(decoded, [None]))
    for number, (frame, following) in enumerate(pairs):
        replaced = following is not None and frame.pts is not None and frame.pts == following.pts
        if not replaced:
            yield COUNTED + number if counted else frame.pts, frame
