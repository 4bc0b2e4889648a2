"""How far a figure of two sets would move if other clips had been drawn.

Clips are drawn again with replacement, both sets on their own, and the figure taken of each draw.
Repeated clips move a Fréchet distance as a whole (a covariance of fewer different rows), so only
the spread around the mean of the draws is used, laid around the figure itself. The interval says
nothing of the bias of a small set: the floor does.

Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), ch. 13.
"""

import contextlib
import math
from collections.abc import Callable, Sequence

import numpy as np

from vldm_jax.core.errors import InputError

DRAWS = 200
LEVEL = 0.95


def bootstrap_interval(
    figure: Callable[..., float],
    sets: Sequence[np.ndarray],
    value: float,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    within: tuple[float, float] = (-np.inf, np.inf),
) -> tuple[float, float]:
    """Return (low, high) of a figure at 95 %, of those draws for which it is defined.

    The figure itself is always inside; one that is infinite is both ends.

    Args:
        figure: (one array a set) -> the figure.
        sets: arrays that lead with the clips.
        value: the figure of the sets as they are.
        draws: how many to take.
        seed: of the draws.
        within: the least and the largest that the figure can be.

    Raises:
        InputError: if the figure is defined for none.
    """
    if math.isinf(value):
        return value, value
    random = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        drawn = [rows[random.integers(0, len(rows), len(rows))] for rows in sets]
        with contextlib.suppress(InputError):  # as of clips that all have nothing to measure
            found.append(figure(*drawn))
    found = [one for one in found if math.isfinite(one)]
    if not found:
        raise InputError(f"none of {draws} draws of the clips has this figure: give more clips")
    around = np.asarray(found) - np.mean(found)
    low, high = np.quantile(around, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    low, high = np.clip((value + min(low, 0.0), value + max(high, 0.0)), *within)
    return float(low), float(high)
