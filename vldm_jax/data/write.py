"""Frames to files that open everywhere: h264 mp4, GIF and contact sheets.

An mp4 is h264, yuv420p, BT.601 limited range (tagged so), with its index in front (faststart) so
that a browser plays it while loading, and it is opened again before it takes its name. Every file
appears whole or not at all, and the same frames give the same bytes. Metadata is JSON and goes
through `core.files.write_json`.
"""

import math
import os
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType

import av
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from vldm_jax.core.errors import InputError
from vldm_jax.core.files import atomic_path

Path_ = str | os.PathLike[str]
Number = int | float
Frames = UInt8[np.ndarray, "t h w 3"]

GIF_FPS = 50  # at most: browsers slow shorter delays down
_BT601, _LIMITED = 6, 1  # AVCOL_SPC_SMPTE170M, AVCOL_RANGE_MPEG


def frame_rate(fps: Number) -> Fraction:
    """Return `fps` as the fraction that a container stores: 1.875 is 15/8, 29.97 is 30000/1001.

    Raises:
        InputError: if `fps` is not a positive finite number.
    """
    if not (np.isfinite(fps) and fps > 0):
        raise InputError(f"a video's fps must be positive, got {fps}: give frames per second")
    ntsc = Fraction(round(fps * 1.001) * 1000, 1001)
    return ntsc if ntsc and abs(float(ntsc) - fps) < 1e-3 else Fraction(fps).limit_denominator(1000)


def check_crf(crf: int) -> None:
    """Raise unless `crf` is one that x264 takes.

    Raises:
        InputError: if it lies outside [0, 51].
    """
    if not 0 <= crf <= 51:
        raise InputError(f"crf must lie in [0, 51], got {crf}: 17 looks lossless, 23 is small")


def write_video(
    path: Path_, frames: Frames, fps: Number, *, crf: int = 17, key_every: int = 250
) -> None:
    """Write frames as h264 mp4 (yuv420p, faststart) and check the file by opening it again.

    Args:
        path: name of the file, ending in .mp4.
        frames: (t h w 3) RGB in [0, 255]. yuv420p halves both sides, so an odd side gets its last
            row or column twice.
        fps: frames per second, any positive number.
        crf: constant rate factor of x264 in [0, 51]; lower is better and bigger.
        key_every: frames from one key frame to the next at most; few make random access quick.

    Raises:
        InputError: for no frames, another suffix, or fps or crf out of range.
    """
    if Path(path).suffix != ".mp4":
        raise InputError(f"{path}: videos are written as mp4, give a name that ends in .mp4")
    check_crf(crf)
    _need_frames(path, frames)
    rate = frame_rate(fps)
    height, width = frames.shape[1:3]
    frames = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    with atomic_path(path) as temporary:
        with av.open(str(temporary), "w", options={"movflags": "+faststart"}) as container:
            options = {"crf": str(crf), "g": str(key_every), "mbtree": _mbtree(frames.shape[2])}
            _encode(container, frames, rate, options)
        _verify(temporary, frames.shape, rate)


def write_gif(path: Path_, frames: Frames, fps: Number) -> None:
    """Write frames as an endless GIF with one palette for all, so that colours don't flicker.

    GIF counts time in 1/100 s: each frame ends at its own time rounded, so the mean rate is `fps`.
    Browsers stop at 50: above that only every second frame is written (third above 100, and so
    on), each for as long as those that it stands for, so that the speed stays.

    Raises:
        InputError: for no frames, or if `fps` is not a positive finite number.
    """
    _need_frames(path, frames)
    frame_rate(fps)
    step = math.ceil(fps / GIF_FPS)
    frames, fps = frames[::step], fps / step
    sample = frames[np.linspace(0, len(frames) - 1, min(len(frames), 16)).astype(int)]
    palette = Image.fromarray(np.concatenate(list(sample))).quantize(256, method=0)
    images = [Image.fromarray(frame).quantize(palette=palette, dither=1) for frame in frames]
    ends = [round(100 * (i + 1) / fps) for i in range(len(frames))]
    steps = [10 * (end - start) for start, end in zip([0, *ends], ends, strict=False)]
    with atomic_path(path) as temporary:
        images[0].save(
            temporary, format="GIF", save_all=True, append_images=images[1:], duration=steps,
            loop=0, disposal=1, optimize=False,
        )  # fmt: skip


def write_contact_sheet(
    path: Path_,
    videos: Sequence[UInt8[np.ndarray, "_ _ _ 3"]],
    labels: Sequence[str],
    *,
    columns: Sequence[str] = (),
    headings: Mapping[int, str] = MappingProxyType({}),
    scale: int = 1,
) -> None:
    """Write a PNG with one row a video and one column a frame; each row's label stands above it.

    Args:
        path: name of the file, ending in .png.
        videos: each (t h w 3) in [0, 255]; lengths and sizes may differ between rows.
        labels: one line of text a video.
        columns: text above the columns, e.g. times; none by default.
        headings: number of a row -> a larger line above it, for it and those after it.
        scale: whole-number enlargement of every frame, for videos of a few pixels.

    Raises:
        InputError: if there is nothing to draw or the labels are not one a video.
    """
    if not videos or len(labels) != len(videos):
        raise InputError(
            f"{path}: a contact sheet takes one label a video, got {len(videos)} videos "
            f"and {len(labels)} labels"
        )
    rows = [_row(path, video, scale) for video in videos]
    font, large = (ImageFont.load_default(size=size) for size in (13, 16))
    gap, line, above = 2, 18, 30
    head = line if columns else 0
    lengths = [font.getlength(text) for text in labels]
    text_width = int(max(lengths + [large.getlength(text) for text in headings.values()])) + 8
    width = max(text_width, *(row.shape[1] for row in rows), 1)
    heights = [line + row.shape[0] + gap + above * (i in headings) for i, row in enumerate(rows)]
    height = head + sum(heights)
    sheet = Image.new("RGB", (width, height), (24, 24, 24))
    draw = ImageDraw.Draw(sheet)
    step = videos[0].shape[2] * scale + gap
    for index, text in enumerate(columns):
        draw.text((index * step + 4, 1), text, fill=(160, 160, 160), font=font)
    tops = accumulate(heights, initial=head)
    for number, (top, row, text) in enumerate(zip(tops, rows, labels, strict=False)):
        if number in headings:
            draw.text((4, top + 7), headings[number], fill=(255, 210, 120), font=large)
            top += above
        draw.text((4, top + 1), text, fill=(240, 240, 240), font=font)
        sheet.paste(Image.fromarray(row), (0, top + line))
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")


def _need_frames(path: Path_, frames: np.ndarray) -> None:
    if frames.size == 0:
        raise InputError(f"{path}: no frames to write, the array has shape {frames.shape}")


def _mbtree(width: int) -> str:
    """x264's macroblock tree, off where it depends on what memory held before.

    Its SIMD code takes 8 macroblocks of a row at a time and reads past a row that has no multiple
    of that, so the same frames came out as other bytes (seen with MALLOC_PERTURB_ in PyAV 18.1).
    """
    return "0" if -(-width // 16) % 8 else "1"


def _encode(
    container: av.container.OutputContainer,
    frames: np.ndarray,
    rate: Fraction,
    options: dict[str, str],
) -> None:
    stream = container.add_stream("libx264", rate=rate, options=options)
    stream.height, stream.width = frames.shape[1:3]
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.colorspace = context.color_primaries = context.color_trc = _BT601
    context.color_range = _LIMITED
    for array in frames:
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format="rgb24")
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _verify(path: Path, shape: tuple[int, ...], rate: Fraction) -> None:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        got = (context.name, context.pix_fmt, stream.frames, context.height, context.width)
        expected = ("h264", "yuv420p", *shape[:3])
        if got != expected or abs(float(stream.average_rate / rate) - 1) > 1e-3:
            raise OSError(
                f"{path}: wrote {expected} at {rate} fps, reads {got} at {stream.average_rate}"
            )
    if (head := path.read_bytes()[:4096].find(b"moov")) < 0:
        raise OSError(f"{path}: its index is not in front (moov at {head}), faststart failed")


def _row(path: Path_, video: np.ndarray, scale: int) -> np.ndarray:
    _need_frames(path, video)
    tiles = video.repeat(scale, axis=1).repeat(scale, axis=2)
    tiles = np.pad(tiles, ((0, 0), (0, 0), (0, 2), (0, 0)), constant_values=24)
    return np.concatenate(list(tiles), axis=1)
