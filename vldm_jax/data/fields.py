"""Interlaced frames: of two half-pictures a moment apart, woven line by line, one is made whole.

FFmpeg's `estdif` keeps one field and draws the lines of the other along edges. It looks at one
frame only, unlike filters that also look at its neighbours, so that a frame comes out the same
wherever reading began. The rate stays that of the frames.
"""

import av
from av.filter import Graph

MARKING = frozenset({
    "h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4", "vc1", "wmv3", "dvvideo", "prores",
    "dnxhd", "av1", "libdav1d", "vp8", "vp9",
})  # fmt: skip
"""Decoders that mark each interlaced frame; for the others the container speaks."""

ORDERS = range(2, 6)  # AVFieldOrder: 0 unknown, 1 progressive, then the four ways to interlace


def is_interlaced(frame: av.VideoFrame, stream: av.VideoStream) -> bool:
    """Return whether a frame of `stream` consists of two fields."""
    context = stream.codec_context
    return frame.interlaced_frame or (context.name not in MARKING and context.field_order in ORDERS)


def deinterlace(frame: av.VideoFrame) -> av.VideoFrame:
    """Return a frame of the same size that shows one moment."""
    graph = Graph()
    graph.threads = 1
    source = graph.add(
        "buffer",
        video_size=f"{frame.width}x{frame.height}",
        pix_fmt=frame.format.name,
        colorspace=str(frame.colorspace),
        range=str(frame.color_range),
        time_base="1/1",
    )
    graph.link_nodes(
        source,
        graph.add("estdif", "mode=frame:parity=tff:deint=all"),
        graph.add("buffersink"),
    ).configure()
    graph.push(frame)
    graph.push(None)  # the filter gives a frame once it knows of the next, or of the end
    return graph.pull()
