"""Halving and doubling of height and width, each with a learned 3x3 convolution."""

import flax.linen as nn
import jax.numpy as jnp
from einops import repeat

from vldm_jax.nn.conv import Conv
from vldm_jax.typing import Array, DTypeLike, Float


class Downsample(nn.Module):
    """Halve height and width by a 3x3 convolution of stride 2 (parameters under `conv`).

    Attributes:
        asymmetric: pad one pixel at the bottom and right only, as the KL autoencoder does; else one
            pixel on every side, as the U-Net does.
        dtype: compute type.
    """

    asymmetric: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
        """Return x at half the size; odd sizes round up (symmetric) or down (asymmetric)."""
        side = (0, 1) if self.asymmetric else (1, 1)
        conv = Conv(x.shape[-1], stride=2, padding=(side, side), dtype=self.dtype, name="conv")
        return conv(x)


class Upsample(nn.Module):
    """Double height and width by repetition, then convolve (parameters under `conv`).

    Attributes:
        dtype: compute type.
    """

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], size: tuple[int, int] | None = None
    ) -> Float[Array, "b h2 w2 c"]:
        """Return x at twice the size, or cropped to `size` where an odd size had been halved."""
        y = repeat(x, "b h w c -> b (h i) (w j) c", i=2, j=2)
        if size is not None:
            y = y[:, : size[0], : size[1]]
        return Conv(x.shape[-1], dtype=self.dtype, name="conv")(y)
