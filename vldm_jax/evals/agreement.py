"""How far clips show what they were asked for: figures of what was detected and of the label.

Rows are (n t d): of each frame what the detector says (`detect.COLUMNS`), and in the last column
the label of its clip, so that a draw of clips keeps each with its label.
"""

import numpy as np

from vldm_jax.evals.detect import CARS, COLUMNS, NIGHT
from vldm_jax.typing import Float

Rows = Float[np.ndarray, "n t d"]


def night_agreement(rows: Rows) -> float:
    """Return the share of clips that are by night or by day, in the mean, as their label says."""
    night = rows[..., COLUMNS.index(NIGHT)].mean(1) > 0.5
    return float((night == (rows[:, 0, -1] > 0.5)).mean())


def cars_apart(rows: Rows) -> float:
    """Return the mean difference, without its sign, of the cars of a clip and of its label."""
    return float(np.abs(cars_of(rows) - rows[:, 0, -1]).mean())


def cars_order(rows: Rows) -> float:
    """Return Spearman's rank correlation of the cars of clips and of their labels.

    It asks whether more cars are shown where more were asked for, not how many. Where all clips
    show, or were asked for, the same number, nothing follows: 0.
    """
    seen = rows[..., COLUMNS.index(CARS)].mean(1)
    x, y = (ranks(values) - (len(rows) - 1) / 2 for values in (seen, rows[:, 0, -1]))
    spread = np.sqrt((x**2).sum() * (y**2).sum())
    return float((x * y).sum() / spread) if spread > 0 else 0.0


def cars_of(rows: Rows) -> Float[np.ndarray, " n"]:
    """Return the cars of each clip, as the driving world counts them: the mean, rounded."""
    return np.floor(rows[..., COLUMNS.index(CARS)].mean(1) + 0.5)


def ranks(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return the rank of each value from 0; equal ones share the mean of theirs."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts + 1) / 2)[which]
