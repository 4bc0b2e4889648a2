"""Inception score: a classifier is sure of each sample, and unsure of all together.

    IS = exp( E_x KL( p(y|x) || p(y) ) ),   p(y) = E_x p(y|x)           (arXiv:1606.03498, Sec. 4)

1 at worst, the number of classes at best. For videos the classifier is C3D of UCF-101
(arXiv:1811.09245). The score grows with the number of samples: compare at equal numbers and splits.
"""

import dataclasses

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.typing import Float


@dataclasses.dataclass(frozen=True, kw_only=True)
class InceptionScore:
    """The score over splits of the samples.

    Attributes:
        mean: over splits.
        deviation: over splits, of the population; 0.0 of a single one.
    """

    mean: float
    deviation: float


def inception_score(logits: Float[np.ndarray, "n k"], splits: int = 10) -> InceptionScore:
    """Return the score of samples, computed in float64.

    Args:
        logits: of k classes, before the softmax.
        splits: parts of consecutive samples, as equal as they go; each is scored by itself.

    Raises:
        InputError: if there are fewer samples than splits, or a logit is not finite.
    """
    if splits < 1 or len(logits) < splits:
        raise InputError(
            f"{len(logits)} samples in {splits} splits: give more samples, or splits between 1 "
            "and their number"
        )
    broken = np.flatnonzero(~np.isfinite(logits).all(axis=1))
    if broken.size:
        raise InputError(
            f"the logits of sample {broken[0]} are not finite ({broken.size} such samples): "
            "look at that sample"
        )
    log_p = _log_softmax(logits.astype(np.float64))
    bounds = [i * len(logits) // splits for i in range(splits + 1)]
    scores = [_score(log_p[a:b]) for a, b in zip(bounds[:-1], bounds[1:], strict=True)]
    return InceptionScore(mean=float(np.mean(scores)), deviation=float(np.std(scores)))


def _score(log_p: Float[np.ndarray, "n k"]) -> float:
    # log p(y) as a sum of exponentials: a class that no sample has must not become log 0.
    log_marginal = np.logaddexp.reduce(log_p, axis=0, keepdims=True) - np.log(len(log_p))
    divergence = np.sum(np.exp(log_p) * (log_p - log_marginal), axis=1)
    return float(np.exp(divergence.mean()))


def _log_softmax(x: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    return x - np.logaddexp.reduce(x, axis=1, keepdims=True)
