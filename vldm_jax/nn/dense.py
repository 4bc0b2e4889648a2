"""The linear layer."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from vldm_jax.nn.init import fan_in_normal, zeros
from vldm_jax.nn.products import add_bias, einsum
from vldm_jax.typing import Array, DTypeLike, Float


class Dense(nn.Module):
    """Map the last axis; parameters `kernel` (in, out) and `bias` (out), always float32.

    Attributes:
        features: output width.
        use_bias: whether a bias is added.
        kernel_init: initialiser of the kernel.
        dtype: compute type.
    """

    features: int
    use_bias: bool = True
    kernel_init: Callable = fan_in_normal
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "*batch d"]) -> Float[Array, "*batch d2"]:
        """Return the mapped array in `dtype`."""
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features))
        leading = "abcdefgh"[: x.ndim - 1]
        y = einsum(f"{leading}i,io->{leading}o", x, kernel, dtype=self.dtype)
        if self.use_bias:
            y = add_bias(y, self.param("bias", zeros, (self.features,)))
        return y
