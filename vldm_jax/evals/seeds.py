"""What several seeds of one training say together: a mean, its interval, and which arm is better.

    mean +- t(n - 1) s / sqrt(n)                                                              (1)

with s the deviation over n seeds and t the quantile of Student's distribution. Two arms are
compared pair by pair, a pair a seed, by (1) of the differences; an ordering is said to hold if
every pair has it and the interval excludes 0, to be likely if every pair has it, and not to hold
otherwise.

What a seed gives to both arms is no part of the spread of their difference: the order of the data
if their batches are equally large, the noise of the judged samples if these have the shape that is
denoised in common. Where arms have neither, as one of pixels with other batches beside one of
latents, a pair is two runs that share a number: the interval is still right, and pairing gains
nothing.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import stats

from vldm_jax.core.errors import InputError

LEVEL = 0.95


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean over seeds.

    Attributes:
        value: the mean.
        interval: (low, high) at 95 %; None for one seed, which tells no spread.
    """

    value: float
    interval: tuple[float, float] | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ordering:
    """Whether one arm is below another.

    Attributes:
        difference: mean over seeds of the second less the first.
        pairs: seeds in which the first is below the second.
        seeds: of both.
        verdict: "holds", "likely" or "does not hold".
    """

    difference: Mean
    pairs: int
    seeds: int
    verdict: str


def mean_of_seeds(values: Sequence[float]) -> Mean:
    """Return the mean of a figure over seeds, with equation (1).

    Raises:
        InputError: if there are none, or one is not finite.
    """
    found = np.asarray(values, np.float64)
    if not found.size or not np.isfinite(found).all():
        raise InputError(f"{list(values)}: give a finite value a seed")
    mean, count = float(found.mean()), len(found)
    if count == 1:
        return Mean(value=mean, interval=None)
    reach = stats.t.ppf((1 + LEVEL) / 2, count - 1) * found.std(ddof=1) / np.sqrt(count)
    return Mean(value=mean, interval=(mean - float(reach), mean + float(reach)))


def ordering(first: Sequence[float], second: Sequence[float]) -> Ordering:
    """Return whether the first arm is below the second; values by the same seeds, in order.

    Raises:
        InputError: if they are not as many, or a value is not finite.
    """
    if len(first) != len(second):
        raise InputError(f"{len(first)} and {len(second)} seeds: compare arms of the same seeds")
    apart = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    difference, pairs = mean_of_seeds(apart.tolist()), int((apart > 0).sum())
    verdict = "does not hold"
    if pairs == len(apart):
        apart_from_0 = difference.interval is not None and difference.interval[0] > 0
        verdict = "holds" if apart_from_0 else "likely"
    return Ordering(difference=difference, pairs=pairs, seeds=len(apart), verdict=verdict)
