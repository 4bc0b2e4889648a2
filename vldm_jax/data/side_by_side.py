"""Several sets of videos beside each other: a column a set with its title, a row a sample.

As a video all frames are seen in turn; the sheet has a few frames of each sample.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from vldm_jax.core.errors import InputError
from vldm_jax.data.write import Number, Path_, write_contact_sheet, write_video

Videos = UInt8[np.ndarray, "b t h w 3"]
Frames = UInt8[np.ndarray, "t h w 3"]
Picture = UInt8[np.ndarray, "t H W 3"]  # of another size

GAP, LINE = 4, 20  # between cells; a title's height
DARK, PALE = (24, 24, 24), (240, 240, 240)
CELL = 520  # columns of pixels that the frames of one sample may take on a sheet
SECONDS = 4  # that a video lasts at least, repeated


def titled(video: Frames, title: str, *, scale: int = 1) -> Picture:
    """Return a video (t h w 3), enlarged by a whole number, with a line of text above."""
    video = video.repeat(scale, axis=1).repeat(scale, axis=2)
    width = video.shape[2]
    head = Image.new("RGB", (width, LINE), DARK)
    font = ImageFont.load_default(size=13)
    ImageDraw.Draw(head).text((4, 3), fitted(title, width - 8), PALE, font)
    strip = np.broadcast_to(np.asarray(head), (len(video), LINE, width, 3))
    return np.concatenate([strip, video], axis=1)


def fitted(text: str, width: int) -> str:
    """Return as much of a line as fits into a width of pixels, its end cut off."""
    font = ImageFont.load_default(size=13)
    if font.getlength(text) <= width:
        return text
    cut = next((n for n in range(len(text), 0, -1) if font.getlength(f"{text[:n]}...") <= width), 0)
    return f"{text[:cut]}..."


def side_by_side(sets: Mapping[str, Videos], *, scale: int | None = None) -> Picture:
    """Return one video of all sets, a column a set with its title above, a row a sample.

    Args:
        sets: title -> videos (b t h w 3), all of one shape.
        scale: whole-number enlargement; None makes small videos about 256 pixels wide.

    Raises:
        InputError: if there is no set, or their shapes differ.
    """
    shape = _shape(sets)
    scale = scale or max(1, 256 // shape[3])
    columns = [
        np.pad(titled(_stacked(videos), title, scale=scale), ((0, 0), (0, 0), (0, GAP), (0, 0)),
               constant_values=DARK[0])
        for title, videos in sets.items()
    ]  # fmt: skip
    return np.concatenate(columns, axis=2)[:, :, :-GAP]


def write_side_by_side(
    path: Path_, sets: Mapping[str, Videos], fps: Number, *, scale: int | None = None
) -> None:
    """Write `side_by_side` as an mp4 that lasts some seconds: a short one is repeated.

    Raises:
        InputError: as `side_by_side`.
    """
    frames = side_by_side(sets, scale=scale)
    times = max(1, math.ceil(SECONDS * fps / len(frames)))
    write_video(path, np.concatenate([frames] * times), fps)


def write_columns_sheet(
    path: Path_, sets: Mapping[str, Videos], captions: Sequence[str], *, scale: int | None = None
) -> None:
    """Write a PNG with a row a sample and a column a set, a few frames of each.

    Which frames they are stands beside the title of each set, unless they are all.

    Args:
        path: name of the file, ending in .png.
        sets: title -> videos (b t h w 3), all of one shape.
        captions: a line above each row.
        scale: whole-number enlargement; None makes small frames about 128 pixels wide.

    Raises:
        InputError: if there is no set, or their shapes differ.
    """
    count, length, _, width, _ = _shape(sets)
    scale = scale or max(1, 128 // width)
    shown = min(length, max(2, CELL // (width * scale)))
    picks = np.linspace(0, length - 1, shown).round().astype(int)
    cells = [[_cell(videos[i][picks], scale) for videos in sets.values()] for i in range(count)]
    some = ", ".join(str(pick + 1) for pick in picks)
    note = f"   frames {some} of {length}" if shown < length else ""
    room = cells[0][0].shape[1] - 8 - int(ImageFont.load_default(size=13).getlength(note))
    titles = [fitted(title, room) + note for title in sets]
    write_contact_sheet(path, [np.stack(row) for row in cells], list(captions), columns=titles)


def _cell(frames: Frames, scale: int) -> UInt8[np.ndarray, "H W 3"]:
    """Return frames in a row, small gaps between them and a larger one at the end."""
    frames = frames.repeat(scale, axis=1).repeat(scale, axis=2)
    gaps = [2] * (len(frames) - 1) + [3 * GAP]
    padded = [
        np.pad(frame, ((0, 0), (0, gap), (0, 0)), constant_values=DARK[0])
        for frame, gap in zip(frames, gaps, strict=True)
    ]
    return np.concatenate(padded, axis=1)


def _stacked(videos: Videos) -> Picture:
    """Return samples below each other, a gap between them."""
    gaps = ((0, 0), (0, 0), (0, 2), (0, 0), (0, 0))
    rows = np.pad(videos, gaps, constant_values=DARK[0])
    return np.concatenate(list(rows), axis=1)[:, :-2]


def _shape(sets: Mapping[str, Videos]) -> tuple[int, ...]:
    shapes = {title: videos.shape for title, videos in sets.items()}
    if not shapes or len(set(shapes.values())) > 1 or 0 in next(iter(shapes.values())):
        raise InputError(f"videos beside each other must be of one shape, got {shapes}")
    return next(iter(shapes.values()))
