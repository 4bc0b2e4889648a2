"""Boxes drawn onto frames, for a person."""

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

YELLOW = (255, 220, 0)


def draw_boxes(
    frame: UInt8[np.ndarray, "h w 3"],
    boxes: Float[np.ndarray, "n 4"],
    *,
    scale: int = 1,
    colour: tuple[int, int, int] = YELLOW,
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Return a frame, enlarged, with the outline of each box in a line of one pixel.

    Args:
        frame: in [0, 255].
        boxes: x0 y0 x1 y1 in [0, 1].
        scale: whole-number enlargement.
        colour: of the lines.
    """
    image = Image.fromarray(frame.repeat(scale, 0).repeat(scale, 1))
    draw = ImageDraw.Draw(image)
    for x0, y0, x1, y1 in boxes * np.array([*image.size, *image.size], np.float32)[None]:
        left, top = min(round(x0), image.width - 1), min(round(y0), image.height - 1)
        draw.rectangle(
            (left, top, max(round(x1) - 1, left), max(round(y1) - 1, top)), outline=colour
        )
    return np.asarray(image)
