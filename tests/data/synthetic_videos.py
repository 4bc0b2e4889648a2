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


def encode(path, frames, times, *, codec="libx264", pix_fmt="yuv420p", time_base=Fraction(1, 1000)):
    """Write frames at arbitrary times (seconds); any size that codec and pixel format allow."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=1000)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = time_base
        for array, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(array, format="rgb24")
            frame.time_base = time_base
            frame.pts = round(time / time_base)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def damage(source, target):
    """Copy an mp4 and overwrite the middle of its frames, leaving the index whole."""
    content = bytearray(source.read_bytes())
    start = content.index(b"mdat") + 4
    length = len(content) - start
    middle = slice(start + length // 4, start + length // 2)
    content[middle] = np.random.default_rng(0).bytes(middle.stop - middle.start)
    target.write_bytes(content)
