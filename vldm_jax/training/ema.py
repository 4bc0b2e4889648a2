"""Exponential moving average of the trained parameters.

    ema <- d ema + (1 - d) params,     d = min(decay, (1 + n) / (10 + n))                     (1)

with n the number of updates done before this one. The warm-up of (1) lets the average forget the
initial parameters in short runs; after ~10 / (1 - decay) updates it is the plain average.
"""

import jax
import jax.numpy as jnp

from vldm_jax.typing import Array, Float, Int, PyTree


def decay_at(decay: float, updates: Int[Array, ""], *, warmup: bool = True) -> Float[Array, ""]:
    """Return the decay d of (1) after `updates` updates; the constant `decay` without warm-up."""
    count = updates.astype(jnp.float32)
    return jnp.minimum(decay, (1 + count) / (10 + count)) if warmup else jnp.float32(decay)


def update(ema: PyTree, params: PyTree, decay: Float[Array, ""]) -> PyTree:
    """Return d ema + (1 - d) params, leaf by leaf, in float32."""
    return jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, ema, params)
