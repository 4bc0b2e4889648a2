"""How far a figure of two sets would move if other clips had been drawn.

Clips are drawn again with replacement, both sets on their own, and the figure taken of each draw.
Windows of one video are alike, so where a set has several of a video, videos are drawn, each with
all its windows, until there are as many clips; the last one is cut. Drawn by themselves, k equal
windows of a video would make the interval narrower by sqrt(k).

Repeated clips move a Fréchet distance as a whole (a covariance of fewer different rows), so only
the spread around the mean of the draws is used, laid around the figure itself. The interval says
nothing of the bias of a small set: the floor does.

Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), ch. 13; of videos: Field and
Welsh, Bootstrapping clustered data (2007), sec. 2, the cluster bootstrap.
"""

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.typing import Int

DRAWS = 200
LEVEL = 0.95
OF_VIDEOS = "bootstrap of videos"  # as recipes say it

Videos = Int[np.ndarray, " n"] | None  # of which video each clip is; None: each of its own


class Interval(NamedTuple):
    """Where a figure would lie for other clips.

    Attributes:
        low: end, at 95 %.
        high: the other one.
        undefined: draws of the clips that do not have the figure, and say nothing.
    """

    low: float
    high: float
    undefined: int


def bootstrap_interval(
    figure: Callable[..., float],
    sets: Sequence[np.ndarray],
    value: float,
    *,
    videos: Sequence[Videos] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    within: tuple[float, float] = (-np.inf, np.inf),
) -> Interval:
    """Return the interval of a figure at 95 %, of those draws for which it is defined.

    The figure itself is always inside; one that is infinite is both ends.

    Args:
        figure: (one array a set) -> the figure.
        sets: arrays that lead with the clips.
        value: the figure of the sets as they are.
        videos: of each set; None if every clip is a video of its own. Where all are of one video,
            clips are drawn: that tells nothing of other videos.
        draws: how many to take.
        seed: of the draws.
        within: the least and the largest that the figure can be.

    Raises:
        InputError: if the figure is defined for none.
    """
    if math.isinf(value):
        return Interval(value, value, 0)
    random = np.random.default_rng(seed)
    of = [None] * len(sets) if videos is None else videos
    members = [_members(len(rows), one) for rows, one in zip(sets, of, strict=True)]
    found = []
    for _ in range(draws):
        drawn = [rows[_draw(random, own)] for rows, own in zip(sets, members, strict=True)]
        with contextlib.suppress(InputError):  # as of clips that all have nothing to measure
            if math.isfinite(one := figure(*drawn)):
                found.append(one)
    if not found:
        raise InputError(f"none of {draws} draws of the clips has this figure: give more clips")
    around = np.asarray(found) - np.mean(found)
    low, high = np.quantile(around, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    low, high = np.clip((value + min(low, 0.0), value + max(high, 0.0)), *within)
    return Interval(float(low), float(high), draws - len(found))


def _members(count: int, videos: Videos) -> list[Int[np.ndarray, " _"]]:
    """Return the numbers of the clips of each video; of each clip, where there is one video."""
    if videos is None or len(np.unique(videos)) in (1, count):
        return list(np.arange(count)[:, None])
    order = np.argsort(videos, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(videos[order])) + 1)


def _draw(
    random: np.random.Generator, members: Sequence[Int[np.ndarray, " _"]]
) -> Int[np.ndarray, " n"]:
    """Return the numbers of as many clips as there are, of videos drawn with replacement."""
    count = sum(map(len, members))
    chosen, left = [], count
    for video in random.integers(0, len(members), count):
        chosen.append(members[video][:left])
        left -= len(chosen[-1])
        if not left:
            break
    return np.concatenate(chosen)
