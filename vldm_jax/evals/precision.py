"""How good a detector is: average precision of its boxes against true ones.

Of all detections of all frames, the surest first, each is right if it overlaps a true box of its
frame, that no surer one has taken, by an intersection over union of at least `least`. Precision is
the share of right ones so far, recall the share of true boxes that were taken; the average
precision is the area under the largest precision at each recall or beyond.

Source: PASCAL VOC 2010 development kit, Sec. 3.4.1; the overlap of VOC is 0.5.
"""

from collections.abc import Sequence

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.typing import Bool, Float


def overlaps(
    boxes: Float[np.ndarray, "n 4"], others: Float[np.ndarray, "k 4"]
) -> Float[np.ndarray, "n k"]:
    """Return the intersection over union of each box with each other one; 0 for empty ones."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.maximum(high - low, 0).prod(-1)
    areas = [(one[:, 2:] - one[:, :2]).prod(-1) for one in (boxes, others)]
    union = areas[0][:, None] + areas[1][None] - shared
    return shared / np.maximum(union, 1e-12)


def right_ones(
    boxes: Float[np.ndarray, "n 4"], true: Float[np.ndarray, "k 4"], least: float = 0.5
) -> Bool[np.ndarray, " n"]:
    """Return which detections of a frame, the surest first, take a true box."""
    overlap = overlaps(boxes, true)
    right = np.zeros(len(boxes), bool)
    for i in range(len(boxes) if len(true) else 0):
        best = int(overlap[i].argmax())
        if overlap[i, best] >= least:
            right[i] = True
            overlap[:, best] = 0.0  # taken
    return right


def average_precision(
    boxes: Sequence[Float[np.ndarray, "_ 4"]],
    scores: Sequence[Float[np.ndarray, " _"]],
    true: Sequence[Float[np.ndarray, "_ 4"]],
    *,
    least: float = 0.5,
) -> float:
    """Return the average precision over frames, in [0, 1].

    Args:
        boxes: of each frame, the surest first.
        scores: of these boxes.
        true: boxes of each frame.
        least: overlap of a right detection.

    Raises:
        InputError: if there is no true box.
    """
    count = sum(map(len, true))
    if not count:
        raise InputError("no frame has a true box: give frames that have some")
    right = np.concatenate([right_ones(b, t, least) for b, t in zip(boxes, true, strict=True)])
    order = np.argsort(-np.concatenate(scores), kind="stable")
    taken = np.cumsum(right[order])
    precision = taken / np.arange(1, len(order) + 1)
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    return float((highest * right[order]).sum() / count)
