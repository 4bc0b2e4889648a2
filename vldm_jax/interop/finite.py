"""Weights that are no numbers: a half-precision overflow, a damaged merge, a diverged training."""

import ml_dtypes
import numpy as np

from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.models.network import Network
from vldm_jax.typing import PyTree

_PIECE = 1 << 22  # values looked at a time


def not_finite(params: PyTree) -> dict[str, int]:
    """Return {path: number of values that are NaN or infinite} of the arrays that have any.

    Args:
        params: nested dict of arrays.
    """
    counts = {path: _count(np.asarray(leaf)) for path, leaf in paths.flatten(params).items()}
    return {path: count for path, count in counts.items() if count}


def check_finite(network: Network, found: Network, *, allowed: bool) -> list[str]:
    """Return one line on values that are no numbers, none where all are.

    Args:
        network: with its arrays.
        found: the same before it was read, for the tensors' names in the file.
        allowed: whether the user has said to take them.

    Raises:
        InputError: with the same line if it is not allowed.
    """
    counts = not_finite(network.params)
    if not counts:
        return []
    leaf = paths.flatten(found.params)[first := next(iter(counts))]
    line = (
        f"{found.source}: {sum(counts.values()):,} values in {len(counts)} of its tensors are NaN "
        f"or infinite, first in {getattr(leaf, 'key', first)!r}"
    )
    if not allowed:
        raise InputError(f"{line}: get it again or earlier weights, or say --non-finite to take it")
    return [line]


def _count(array: np.ndarray) -> int:
    if not (np.issubdtype(array.dtype, np.floating) or array.dtype == ml_dtypes.bfloat16):
        return 0
    flat = array.reshape(-1)
    pieces = (flat[start : start + _PIECE] for start in range(0, flat.size, _PIECE))
    return sum(piece.size - int(np.count_nonzero(np.isfinite(piece))) for piece in pieces)
