"""Initialisers.

Deviation from `flax.linen.initializers`: numbers are drawn as one flat vector and reshaped. They
have the same distribution, but XLA compiles the counters of a flat draw four times as fast on CPU,
and the initialisation of a video U-Net is one program with hundreds of draws.
"""

import math

import jax
import jax.numpy as jnp

from vldm_jax.typing import Array, DTypeLike, Float, Key

# Standard deviation of a standard normal truncated to [-2, 2].
_TRUNCATED_STD = 0.87962566103423978


def fan_in_normal(
    key: Key, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32
) -> Float[Array, "..."]:
    """Return a truncated normal of variance 1 / fan_in; the last axis of `shape` is the output."""
    std = 1.0 / math.sqrt(math.prod(shape[:-1])) / _TRUNCATED_STD
    flat = jax.random.truncated_normal(key, -2.0, 2.0, (math.prod(shape),), dtype)
    return (flat * std).reshape(shape)


def zeros(key: Key, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Float[Array, "..."]:
    """Return zeros: for layers that must leave their input alone at step 0."""
    del key
    return jnp.zeros(shape, dtype)
