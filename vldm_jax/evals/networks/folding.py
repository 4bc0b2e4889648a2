"""Batch norm of a trained network, folded into the convolution before it.

At inference batch norm is a scale and a shift a channel, so it goes into kernel and bias:

    gamma (k * x - mean) / sqrt(var + eps) + beta = (k s) * x + (beta - mean s)
    s = gamma / sqrt(var + eps)
"""

import numpy as np


def fold_batch_norm(
    kernel: np.ndarray,
    *,
    mean: np.ndarray,
    var: np.ndarray,
    beta: np.ndarray,
    eps: float,
    gamma: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Return `{"kernel", "bias"}` in float32 of the convolution and its batch norm in one.

    The sums are float64, so what is lost is one rounding a number.

    Args:
        kernel: output channels last, without a bias of its own.
        mean: one number an output channel, of any shape; so `var`, `beta` and `gamma`.
        var: the moving variance.
        beta: the shift.
        eps: what was added to the variance.
        gamma: the scale, if it was trained.
    """
    mean, var, beta = (np.ravel(array).astype(np.float64) for array in (mean, var, beta))
    scale = (1.0 if gamma is None else np.ravel(gamma)) / np.sqrt(var + eps)
    return {
        "kernel": np.float32(kernel * scale),
        "bias": np.float32(beta - mean * scale),
    }
