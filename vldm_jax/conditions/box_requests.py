"""Boxes that samples are asked for, as a config or a flag says them.

    None                        unknown, for all samples
    ((x0, y0, x1, y1), ...)     these boxes in every sample; () for an image without any
    (request, request, ...)     one sample after the other: each None or a tuple of boxes

Numbers are fractions of the image, (0, 0) its left top corner.
"""

from typing import Any

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.core.words import counted
from vldm_jax.typing import Float


def is_box(boxes: Any) -> Any:
    """Return which rows (... 4) are boxes: those that have an area, in the type of array given."""
    return (boxes[..., 2] > boxes[..., 0]) & (boxes[..., 3] > boxes[..., 1])


def boxes_of(value: Any, most: int, where: str) -> list[Float[np.ndarray, "n 4"] | None]:
    """Return the boxes of every request, None where they are unknown.

    Args:
        value: see the module.
        most: boxes of an image.
        where: the config's key or the flag, for messages.

    Raises:
        InputError: if it is no request, or naming a box that is none, or how many are too many.
    """
    found: list[Float[np.ndarray, "n 4"] | None] = []
    for request in _requests(value, where):
        if request is None:
            found.append(None)
            continue
        if len(request) > most:
            raise InputError(
                f"{where} asks for {len(request)} boxes in one image, the network takes at most "
                f"{most}: leave some out"
            )
        boxes = [_checked(box, where) for box in request]
        found.append(np.stack(boxes) if boxes else np.zeros((0, 4), np.float32))
    return found


def _requests(value: Any, where: str) -> tuple[Any, ...]:
    """Return None, or a tuple of boxes, for each request.

    Raises:
        InputError: if there is none.
    """
    if value is None:
        return (None,)
    if isinstance(value, tuple):
        if all(map(_is_numbers, value)):
            return (value,)
        if all(one is None or _is_boxes(one) for one in value):
            return value
    raise InputError(
        f"{where}={value!r} must be boxes ((x0, y0, x1, y1), ...), () for an image without any, or "
        "a tuple of such for one image after the other; None for unknown"
    )


def _is_boxes(value: Any) -> bool:
    return isinstance(value, tuple) and all(map(_is_numbers, value))


def _is_numbers(value: Any) -> bool:
    numbers = isinstance(value, tuple) and all(type(v) in (int, float) for v in value)
    return numbers and len(value) > 0


def _checked(box: tuple[float, ...], where: str) -> Float[np.ndarray, " 4"]:
    """Return a box as an array.

    Raises:
        InputError: if it has not four numbers, lies outside of the image or has no area.
    """
    found, text = np.array(box, np.float32), ",".join(f"{v:g}" for v in box)
    if found.shape != (4,):
        raise InputError(
            f"{where}: the box {text} has {counted(len(box), 'number')}, not x0 y0 x1 y1"
        )
    if not ((found >= 0) & (found <= 1)).all():
        raise InputError(
            f"{where}: the box {text} leaves the image: give fractions of it, x0 y0 x1 y1 from 0 "
            "to 1"
        )
    if not is_box(found):
        raise InputError(
            f"{where}: the box {text} has no area: give left and top first, x0 < x1 and y0 < y1"
        )
    return found
