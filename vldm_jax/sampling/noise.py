"""Noise that belongs to a sample, not to the batch that it happens to be drawn in.

A run of many samples goes through one compiled program a batch at a time. Each sample has a key of
its own, made from its index, and all its noise (the start and what stochastic solvers add) comes
from it; so sample 37 is the same in any batch, and no two samples share noise because they had the
same row of different batches.
"""

from typing import Any

import jax
import jax.numpy as jnp

from vldm_jax.typing import Array, Float, Int, Key


def sample_keys(key: Key, index: Int[Array, " b"]) -> Key:
    """Return one key a sample, (b), from the run's key and the samples' indices."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, index)


def sample_noise(key: Key, shape: tuple[Any, ...]) -> Float[Array, "..."]:
    """Return unit normal noise of `shape` (b ...), float32.

    Args:
        key: (b) keys, one a sample; or one key, whose samples are then numbered from 0.
        shape: (b ...); b may be symbolic, in a program that is exported for any batch.
    """
    keys = sample_keys(key, jnp.arange(shape[0])) if key.ndim == 0 else key
    return jax.vmap(lambda row: jax.random.normal(row, shape[1:], jnp.float32))(keys)
