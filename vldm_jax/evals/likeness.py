"""Which samples are most and least like real clips, so that a person looks at both ends."""

import numpy as np

from vldm_jax.typing import Float, Int

NEAREST = 3


def by_likeness(
    samples: Float[np.ndarray, "n d"], real: Float[np.ndarray, "m d"]
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Return the samples' numbers, most like real clips first, and the distance of each sample.

    The distance is the mean Euclidean one to the nearest real clips in the space of the features:
    a sample may be near because it is good, or because the real set has its like.

    Args:
        samples: features, a row a sample.
        real: features, a row a real clip.
    """
    samples, real = samples.astype(np.float64), real.astype(np.float64)
    distances = np.stack([np.linalg.norm(real - one, axis=1) for one in samples])
    near = np.sort(distances, axis=1)[:, :NEAREST].mean(axis=1)
    return np.argsort(near, kind="stable"), near
