"""Group and layer normalisation with statistics in float32, whatever the compute type.

GroupNorm takes its statistics over all axes but the first and the group: over (h, w) for images and
jointly over (t, h, w) for videos, which is what the temporal residual blocks ask for. Fold frames
into the batch first where frames must not see each other. Where the frames of a video lie on
several devices (`nn.frames`), joint statistics are summed over these.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax import lax

from vldm_jax.core.errors import InputError
from vldm_jax.nn.frames import FrameSplit
from vldm_jax.nn.init import zeros
from vldm_jax.typing import Array, DTypeLike, Float


class GroupNorm(nn.Module):
    """Normalise groups of channels per sample; parameters `scale` and `bias` (c).

    Attributes:
        groups: number of groups; must divide the channels.
        eps: added to the variance.
        dtype: type of the result.
        split: how frames (b t ...) lie on devices; None where all are here.
    """

    groups: int = 32
    eps: float = 1e-5
    dtype: DTypeLike = jnp.float32
    split: FrameSplit | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "b *space c"]) -> Float[Array, "b *space c"]:
        """Return the normalised array in `dtype`.

        Raises:
            InputError: if `groups` does not divide the channels.
        """
        channels = x.shape[-1]
        if channels % self.groups:
            raise InputError(
                f"GroupNorm '{self.name}': norm groups {self.groups} do not divide the width "
                f"{channels}; choose norm_groups that divides every channel count"
            )
        scale = self.param("scale", nn.initializers.ones_init(), (channels,))
        bias = self.param("bias", zeros, (channels,))
        flat = x.astype(jnp.float32).reshape(x.shape[0], -1, channels)
        places = flat.shape[1]
        if self.split is not None:
            places = places // x.shape[1] * self.split.frames
        count = places * channels // self.groups
        mean = self._per_channel(self._sum(flat, x.shape[1])) / count
        centred = flat - mean[:, None, :]
        variance = self._per_channel(self._sum(jnp.square(centred), x.shape[1])) / count
        gain = lax.rsqrt(variance + self.eps) * scale[None, :]
        y = centred * gain[:, None, :] + bias[None, None, :]
        return y.reshape(x.shape).astype(self.dtype)

    def _sum(self, flat, frames):
        """Sum (b n c) over n, wherever its frames are."""
        if self.split is None:
            return flat.sum(1)
        return self.split.total(flat.reshape(flat.shape[0], frames, -1, flat.shape[-1]))

    def _per_channel(self, sums):
        """Sum (b c) within groups and give every channel its group's sum."""
        grouped = sums.reshape(sums.shape[0], self.groups, -1)
        total = jnp.broadcast_to(grouped.sum(-1, keepdims=True), grouped.shape)
        return total.reshape(sums.shape)


class LayerNorm(nn.Module):
    """Normalise the last axis; parameters `scale` and `bias` (c).

    Attributes:
        eps: added to the variance.
        dtype: type of the result.
    """

    eps: float = 1e-5
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "*batch c"]) -> Float[Array, "*batch c"]:
        """Return the normalised array in `dtype`."""
        shape = (1,) * (x.ndim - 1) + (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones_init(), (x.shape[-1],)).reshape(shape)
        bias = self.param("bias", zeros, (x.shape[-1],)).reshape(shape)
        x = x.astype(jnp.float32)
        centred = x - x.mean(-1, keepdims=True)
        variance = jnp.square(centred).mean(-1, keepdims=True)
        return (centred * lax.rsqrt(variance + self.eps) * scale + bias).astype(self.dtype)
