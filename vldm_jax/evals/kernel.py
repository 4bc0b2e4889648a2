"""Kernel distance of two sets of features: KVD and KID, an estimate without bias.

The squared maximum mean discrepancy with the kernel k(x, y) = (x.y / d + 1)^3, of which the sums
leave out each row with itself: on average it is 0 for sets of one kind, whatever their sizes, so it
may be negative. The Fréchet distance of few clips is not so kind.

Source: Binkowski et al., arXiv:1801.01401, eq. 4; Unterthiner et al., arXiv:1812.01717.
"""

import numpy as np

from vldm_jax.evals.frechet import check_features
from vldm_jax.typing import Float

ROWS = 1024  # of the kernel matrix at a time


def kernel_distance(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"]) -> float:
    """Return the unbiased squared discrepancy; memory is flat in n and m.

    Args:
        x: features of one set, a row a clip or image.
        y: features of the other.

    Raises:
        InputError: for fewer than two rows, or a feature that is not finite.
    """
    check_features(x, y)
    x, y = x.astype(np.float64), y.astype(np.float64)
    n, m = len(x), len(y)
    own = (_sum(x, x) - _diagonal(x)) / (n * (n - 1)) + (_sum(y, y) - _diagonal(y)) / (m * (m - 1))
    return float(own - 2.0 * _sum(x, y) / (n * m))


def _sum(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"]) -> float:
    width = x.shape[1]
    parts = (x[i : i + ROWS] for i in range(0, len(x), ROWS))
    return float(sum(((part @ y.T / width + 1.0) ** 3).sum() for part in parts))


def _diagonal(x: Float[np.ndarray, "n d"]) -> float:
    return float(((np.square(x).sum(axis=1) / x.shape[1] + 1.0) ** 3).sum())
