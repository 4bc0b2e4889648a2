"""Noise that belongs to a sample, not to the batch that it happens to be drawn in."""

import jax
import jax.numpy as jnp

from vldm_jax.typing import Array, Float, Key


def sample_noise(key: Key, shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Return unit normal noise of `shape` (b ...), float32; row i depends on key and i alone.

    So the first samples of a larger batch are the samples of a smaller one.
    """
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(shape[0]))
    return jax.vmap(lambda row: jax.random.normal(row, shape[1:], jnp.float32))(keys)
