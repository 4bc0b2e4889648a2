"""Fréchet distance of two sets of features, as if each were a Gaussian: FVD, FID and their kin.

    d = |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2)

The last term takes no square root of a matrix. With centred features as rows, S1 = A'A and
S2 = B'B, the eigenvalues of S1 S2 are the squared singular values of A B', so the trace is the sum
of these: exact for fewer clips than features, too, where S is singular and a matrix root is lost in
rounding.

A set of n clips gives a distance that is too large by about a constant over n, and clips of one
kind don't give 0: a figure means something beside that of as many real clips against real ones.

Source: Heusel et al., arXiv:1706.08500 (FID); Unterthiner et al., arXiv:1812.01717 (FVD).
"""

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.typing import Float

FEWEST = 2  # of a covariance


def frechet_distance(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"]) -> float:
    """Return the distance, never negative; 0 for equal sets, symmetric.

    Args:
        x: features of one set, a row a clip or image.
        y: features of the other.

    Raises:
        InputError: for fewer than two rows, or a feature that is not finite.
    """
    check_features(x, y)
    x, y = x.astype(np.float64), y.astype(np.float64)
    apart = np.square(x.mean(axis=0) - y.mean(axis=0)).sum()
    a, b = _root(x), _root(y)
    shared = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return float(max(apart + np.square(a).sum() + np.square(b).sum() - 2.0 * shared, 0.0))


def check_features(*sets: Float[np.ndarray, "_ d"], fewest: int = FEWEST) -> None:
    """Raise unless every set has enough rows of finite numbers.

    Raises:
        InputError: naming the first row that is not finite, or how many there are.
    """
    for features in sets:
        if len(features) < fewest:
            raise InputError(
                f"{len(features)} clips or images are too few for this figure: "
                f"give at least {fewest}, and hundreds for one that means something"
            )
        bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
        if len(bad):
            raise InputError(f"features of clip {bad[0]} are not finite numbers ({len(bad)} such)")


def _root(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "k d"]:
    """Return R with R'R the covariance of the rows, in as few rows as there can be."""
    centred = (x - x.mean(axis=0)) / np.sqrt(len(x) - 1)
    return np.linalg.qr(centred, mode="r") if len(x) > x.shape[1] else centred
