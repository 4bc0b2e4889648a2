"""How a network that judges is run: the same figures on every machine, and in bounded memory."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.typing import Array, PyTree, Shaped


@functools.lru_cache
def compiled(module: nn.Module, method: str | None = None) -> Callable[..., Array]:
    """Return the compiled (params, *inputs) -> outputs of a module.

    Matrix units would round float32 to bfloat16 or TF32 by default; figures are compared with those
    of other machines, so products are float32 here.
    """

    def apply(params: PyTree, *inputs: Any) -> Array:
        with jax.default_matmul_precision("highest"):
            return module.apply({"params": params}, *inputs, method=method)

    return jax.jit(apply)


def in_chunks(
    function: Callable[..., Any], *arrays: Shaped[np.ndarray, "n ..."], size: int
) -> np.ndarray:
    """Return function(*arrays), computed on `size` rows at a time.

    Args:
        function: of rows of the arrays, each row by itself; it sees no other number of rows than
            `size`, unless there are fewer, so it is compiled once.
        *arrays: of n rows each.
        size: rows at a time.

    Raises:
        InputError: if there are no rows, or `size` is not positive.
    """
    count = len(arrays[0])
    if count < 1 or size < 1:
        raise InputError(f"{count} rows in chunks of {size}: give at least one of each")
    size = min(size, count)
    parts = []
    for start in range(0, count, size):
        # The last chunk begins earlier instead of being shorter; what it repeats is cut.
        first = min(start, count - size)
        part = np.asarray(function(*(array[first : first + size] for array in arrays)))
        parts.append(part[start - first :])
    return np.concatenate(parts)
