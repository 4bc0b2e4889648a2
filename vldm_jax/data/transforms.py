"""Frame size: one antialiased resize with the centre crop folded in.

The largest centred box of the requested aspect is cut out of the frame and resampled with PIL's
bicubic filter, whose support grows with the reduction, so that small frames carry no aliasing. The
box has fractional corners, so odd sizes stay centred and the aspect never changes.
"""

import numpy as np
from jaxtyping import UInt8
from PIL import Image


def crop_box(
    height: int, width: int, to_height: int, to_width: int
) -> tuple[float, float, float, float]:
    """Return (left, top, right, bottom) of the largest centred box of the target's aspect."""
    scale = min(height / to_height, width / to_width)
    box_height, box_width = scale * to_height, scale * to_width
    left, top = (width - box_width) / 2, (height - box_height) / 2
    return left, top, left + box_width, top + box_height


def resize_crop(
    frame: UInt8[np.ndarray, "h w 3"], height: int, width: int
) -> UInt8[np.ndarray, "{height} {width} 3"]:
    """Return the frame's centre at (height, width), antialiased; unchanged if it has that size."""
    if frame.shape[:2] == (height, width):
        return frame
    box = crop_box(*frame.shape[:2], height, width)
    image = Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC, box=box)
    return np.asarray(image)
