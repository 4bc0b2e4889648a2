"""Videos made on the spot: coloured scenes that move, whose frames are told apart exactly."""

from fractions import Fraction

import av
import numpy as np


def scene(seed, count, height=72, width=128, speed=1):
    """Smooth coloured blobs that drift `speed` pixels a frame."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    tile = np.kron(coarse, np.ones((-(-height // 6), -(-width // 8), 1), np.uint8))
    tile = tile[:height, :width]
    return np.stack([np.roll(tile, speed * i, axis=1) for i in range(count)])


def numbered(count, height=32, width=64):
    """Frame i shows i in binary: eight bars, black or white."""
    bits = (np.arange(count)[:, None] >> np.arange(8)) & 1
    bars = np.repeat(bits, width // 8, axis=1).astype(np.uint8) * 255
    shape = (count, height, width, 3)
    return np.ascontiguousarray(np.broadcast_to(bars[:, None, :, None], shape))


def number_of(frame):
    """Read the number back from a frame of any size."""
    height, width = frame.shape[:2]
    columns = (np.arange(8) * 2 + 1) * width // 16
    return int(((frame[height // 2, columns].mean(-1) > 127) << np.arange(8)).sum())


def encode(
    path,
    frames,
    times,
    *,
    codec="libx264",
    pix_fmt="yuv420p",
    time_base=Fraction(1, 1000),
    rate=1000,
    options=None,
    muxing=None,
    format=None,
    prepare=lambda stream: None,
):
    """Write frames at arbitrary times (seconds); any size that codec and pixel format allow.

    `prepare` gets the stream before its first frame. A frame is an RGB array or an `av.VideoFrame`.
    """
    with av.open(str(path), "w", format=format, options=muxing or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        first = frames[0]
        size = (first.height, first.width) if isinstance(first, av.VideoFrame) else first.shape
        stream.height, stream.width = size[:2]
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = time_base
        prepare(stream)
        for frame, time in zip(frames, times, strict=True):
            if not isinstance(frame, av.VideoFrame):
                frame = av.VideoFrame.from_ndarray(frame, format="rgb24")
            frame.time_base = time_base
            frame.pts = round(time / time_base)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def steady(path, frames, fps=25, **kwargs):
    """Write frames at a constant rate, in the time base that AVI needs."""
    times = np.arange(len(frames)) / fps
    encode(path, frames, times, rate=fps, time_base=Fraction(1, fps), **kwargs)


def join(target, *sources):
    """Write files one behind the other, as `cat` does with recordings."""
    target.write_bytes(b"".join(source.read_bytes() for source in sources))


def packed(path, frames):
    """Write an AVI as XviD and DivX do: a packet holds a P picture and the B picture before it."""
    start, user_data = b"\0\0\1\xb6", b"\0\0\1\xb2DivX503b1393p"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25, options={"b_strategy": "0"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt, stream.codec_context.max_b_frames = "yuv420p", 1
        packets = [stream.encode(av.VideoFrame.from_ndarray(f, format="rgb24")) for f in frames]
        pictures = [bytes(packet) for some in [*packets, stream.encode(None)] for packet in some]
        pictures[0] = pictures[0].replace(start, user_data + start, 1)
        chunks = []
        for picture in pictures:
            if picture[picture.index(start) + 4] >> 6 == 2:  # a B picture
                chunks[-1] += picture[picture.index(start) :]
                chunks.append(start + b"\x54\x0f")  # a placeholder of a frame
            else:
                chunks.append(picture)
        for number, chunk in enumerate(chunks):
            packet = av.Packet(chunk)
            packet.pts = packet.dts = number
            packet.time_base, packet.stream = Fraction(1, 25), stream
            packet.is_keyframe = chunk[chunk.index(start) + 4] >> 6 == 0
            container.mux(packet)


def retimed(path, frames, times, *, codec="ffv1", pix_fmt="bgr0"):
    """Write packets with these times (milliseconds), which an encoder would refuse."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pix_fmt
        packets = [stream.encode(av.VideoFrame.from_ndarray(f, format="rgb24")) for f in frames]
        whole = [packet for some in [*packets, stream.encode(None)] for packet in some]
        for packet, time in zip(whole, times, strict=True):
            packet.pts = packet.dts = time
            packet.time_base = Fraction(1, 1000)
            container.mux(packet)


def coloured(rgb, size=32, *, matrix=5, full=False, bits=8, height=None):
    """Return a flat yuv444p frame whose planes are computed here, not by FFmpeg.

    `rgb` are signals in [0, 1]; `matrix` and range are AVColorSpace numbers.
    """
    kr, kb = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 9: (0.2627, 0.0593)}[matrix]
    red, green, blue = rgb
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    planes = luma, (blue - luma) / (2 - 2 * kb), (red - luma) / (2 - 2 * kr)
    unit = 1 << bits - 8
    if full:
        values = [(256 * unit - 1) * planes[0], *(128 * unit + 255 * unit * c for c in planes[1:])]
    else:
        values = [unit * (16 + 219 * planes[0]), *(unit * (128 + 224 * c) for c in planes[1:])]
    frame = av.VideoFrame(size, height or size, "yuv444p" if bits == 8 else f"yuv444p{bits}le")
    for plane, value in zip(frame.planes, values, strict=True):
        kind = np.uint8 if bits == 8 else np.uint16
        plane.update(np.full(plane.buffer_size // kind().itemsize, round(value), kind).tobytes())
    return frame


def damage(source, target):
    """Copy an mp4 and overwrite the middle of its frames, leaving the index whole."""
    content = bytearray(source.read_bytes())
    start = content.index(b"mdat") + 4
    length = len(content) - start
    middle = slice(start + length // 4, start + length // 2)
    content[middle] = np.random.default_rng(0).bytes(middle.stop - middle.start)
    target.write_bytes(content)
