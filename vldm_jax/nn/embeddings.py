"""Sinusoids of diffusion times, frame positions and counts, and the small MLPs behind them."""

import math

import flax.linen as nn
import jax.numpy as jnp

from vldm_jax.nn.dense import Dense
from vldm_jax.nn.init import fan_in_normal
from vldm_jax.typing import Array, Float, Shaped


def sinusoid(
    positions: Shaped[Array, " n"], width: int, max_period: float = 10000.0
) -> Float[Array, "n {width}"]:
    """Return [cos(p f_k), sin(p f_k)] with f_k = max_period^(-k / (width/2)), float32.

    Args:
        positions: any real numbers, negative ones included.
        width: even number of features.
        max_period: of the slowest wave, in units of 2 pi positions.

    Source: cosines first and no frequency shift, as in Stable Diffusion (diffusers:
    flip_sin_to_cos=True, freq_shift=0).
    """
    half = width // 2
    frequencies = jnp.exp(-math.log(max_period) * jnp.arange(half, dtype=jnp.float32) / half)
    angles = positions.astype(jnp.float32)[:, None] * frequencies[None, :]
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


class EmbeddingMLP(nn.Module):
    """Linear, SiLU, linear, in float32 (parameters linear_1, linear_2).

    Attributes:
        hidden: width between.
        features: width of the result.
        out_init: initialiser of the second layer.
    """

    hidden: int
    features: int
    out_init: nn.initializers.Initializer = fan_in_normal

    @nn.compact
    def __call__(self, x: Float[Array, "n d"]) -> Float[Array, "n d2"]:
        """Return the embedding."""
        x = nn.silu(Dense(self.hidden, name="linear_1")(x))
        return Dense(self.features, kernel_init=self.out_init, name="linear_2")(x)
