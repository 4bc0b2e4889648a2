"""The residual block of the U-Net (with a time embedding) and of the autoencoder (without).

h = conv1(silu(norm1(x))) + time_emb_proj(silu(emb))
y = shortcut(x) + conv2(dropout(silu(norm2(h))))
"""

import flax.linen as nn
import jax.numpy as jnp

from vldm_jax.nn.conv import Conv
from vldm_jax.nn.dense import Dense
from vldm_jax.nn.init import fan_in_normal
from vldm_jax.nn.norm import GroupNorm
from vldm_jax.typing import Array, DTypeLike, Float


class ResBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut.

    Parameters: norm1, conv1, time_emb_proj (with an embedding), norm2, conv2, conv_shortcut (where
    the width changes).

    Attributes:
        features: output channels.
        groups: norm groups.
        eps: of the norms; 1e-5 in U-Nets, 1e-6 in autoencoders.
        dropout: rate before the second convolution.
        out_init: initialiser of the second convolution.
        dtype: compute type.
    """

    features: int
    groups: int = 32
    eps: float = 1e-5
    dropout: float = 0.0
    out_init: nn.initializers.Initializer = fan_in_normal
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], emb: Float[Array, "b d"] | None = None, *, train: bool
    ) -> Float[Array, "b h w c2"]:
        """Return the block's output; `emb` is added per channel after the first convolution."""
        y = nn.silu(GroupNorm(self.groups, self.eps, self.dtype, name="norm1")(x))
        y = Conv(self.features, dtype=self.dtype, name="conv1")(y)
        if emb is not None:
            shift = Dense(self.features, dtype=self.dtype, name="time_emb_proj")(nn.silu(emb))
            y = y + shift[:, None, None, :]
        y = nn.silu(GroupNorm(self.groups, self.eps, self.dtype, name="norm2")(y))
        y = nn.Dropout(self.dropout, deterministic=not train)(y)
        y = Conv(self.features, kernel_init=self.out_init, dtype=self.dtype, name="conv2")(y)
        if x.shape[-1] != self.features:
            x = Conv(self.features, (1, 1), dtype=self.dtype, name="conv_shortcut")(x)
        return x + y
