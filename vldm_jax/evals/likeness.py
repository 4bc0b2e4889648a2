"""Which samples are most and least like real clips, so that a person looks at both ends."""

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.evals.figures import Figure
from vldm_jax.evals.value import own_settings
from vldm_jax.typing import Float, Int

NEAREST = 3


def by_likeness(
    samples: Float[np.ndarray, "n d"], real: Float[np.ndarray, "m d"]
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Return numbers of samples, most like real clips first, and of each distance and nearest clip.

    The distance is the mean Euclidean one to the nearest real clips in the space of the features:
    a sample may be near because it is good, or because the real set has its like.

    Args:
        samples: features, a row a sample.
        real: features, a row a real clip.
    """
    samples, real = samples.astype(np.float64), real.astype(np.float64)
    distances = np.stack([np.linalg.norm(real - one, axis=1) for one in samples])
    near = np.sort(distances, axis=1)[:, :NEAREST].mean(axis=1)
    return np.argsort(near, kind="stable"), near, distances.argmin(axis=1)


def by_value(
    figure: Figure, rows: Float[np.ndarray, "n rows d"], settings: Mapping[str, Any]
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Return the samples' numbers, best first, and the figure of each one alone.

    Args:
        figure: not against real clips; what has no value alone stands last, as NaN. A clip that
            equals its original is infinitely near, and stands first.
        rows: the samples' numbers.
        settings: what `Given.fixed` made.
    """
    own = own_settings(figure, settings)
    values = np.full(len(rows), np.nan)
    for number in range(len(rows)):
        with contextlib.suppress(InputError):
            values[number] = figure.of(rows[number : number + 1], **own)
    order = np.argsort(-values if figure.better == "higher" else values, kind="stable")
    return order, values
