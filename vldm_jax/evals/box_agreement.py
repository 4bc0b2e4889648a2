"""How far frames show cars where they were asked for: detected boxes against those asked for.

    found = share of the boxes asked for that a detected one overlaps by at least 0.3         (1)

over all boxes of all clips; overlap is intersection over union. It is low for boxes of a few
pixels whatever the model is, for there half a pixel is half the box: the floor tells, which is of
real frames and their own boxes. What chance gives is (1) with the boxes of other clips.

Rows are (n t d): of each frame `MOST` detected boxes, then those asked for, four numbers each,
zeros where there is none.
"""

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.data.boxes import areas
from vldm_jax.typing import Float

MOST = 48  # detections of a frame
OVERLAP = 0.3
SHIFTS = 8  # by which clips take the boxes of others

Rows = Float[np.ndarray, "n t d"]


def box_rows(detected: Float[np.ndarray, "n t k 4"], asked: Float[np.ndarray, "n m 4"]) -> Rows:
    """Return the rows of clips; all frames of one were asked for the same boxes."""
    n, t, k, _ = detected.shape
    filled = np.pad(detected, ((0, 0), (0, 0), (0, MOST - k), (0, 0)))
    wanted = np.broadcast_to(asked[:, None], (n, t, *asked.shape[1:]))
    return np.concatenate([filled.reshape(n, t, -1), wanted.reshape(n, t, -1)], axis=-1)


def boxes_found(rows: Rows) -> float:
    """Return the share of boxes that are found where they were asked for, equation (1).

    Raises:
        InputError: if no clip was asked for any.
    """
    return _found(*_parts(rows))


def boxes_of_others(rows: Rows) -> float:
    """Return the same where each clip has the boxes that another was asked for: chance.

    The mean over several ways to turn the clips around.
    """
    detected, asked = _parts(rows)
    shifts = np.unique(np.linspace(1, len(rows) - 1, SHIFTS).astype(int))
    return float(np.mean([_found(detected, np.roll(asked, by, axis=0)) for by in shifts]))


def overlaps(
    a: Float[np.ndarray, "*s n 4"], b: Float[np.ndarray, "*s m 4"]
) -> Float[np.ndarray, "*s n m"]:
    """Return intersection over union of every pair; 0 for what has no area."""
    a, b = a[..., :, None, :], b[..., None, :, :]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    both = np.clip(sides, 0.0, None).prod(-1)
    either = areas(a) + areas(b) - both
    return both / np.maximum(either, 1e-12)


def _parts(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    boxes = rows.reshape(*rows.shape[:2], -1, 4)
    return boxes[:, :, :MOST], boxes[:, :, MOST:]


def _found(detected: np.ndarray, asked: np.ndarray) -> float:
    if not (known := areas(asked) > 0).any():
        raise InputError("no clip was asked for a box: take clips with cars")
    return float((overlaps(asked, detected).max(-1) >= OVERLAP)[known].mean())
