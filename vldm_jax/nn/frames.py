"""Frames of one video on several devices: what layers that look across frames need to be exact.

Inside `jax.shard_map` each device of a named axis has a run of consecutive frames. A convolution
over frames takes the frames beside its own from its neighbours, and statistics over all frames are
summed over the axis. Layers that see frames one by one need nothing.

A video whose frames do not divide over the devices is filled up behind its end; what is there
counts nowhere.
"""

import dataclasses

import jax.numpy as jnp
from jax import lax

from vldm_jax.typing import Array, Bool, Float


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrameSplit:
    """How the frames of a video lie on devices.

    Attributes:
        axis: name of the axis of devices.
        devices: their number.
        frames: of the whole video; what lies behind them is no frame.
    """

    axis: str
    devices: int
    frames: int

    def real(self, held: int) -> Bool[Array, " t"]:
        """Return which of the `held` frames of this device are some of the video's."""
        return lax.axis_index(self.axis) * held + jnp.arange(held) < self.frames

    def only_real(self, x: Float[Array, "b t *rest c"]) -> Float[Array, "b t *rest c"]:
        """Return x with zeros behind the end of the video."""
        real = self.real(x.shape[1]).reshape(1, -1, *(1,) * (x.ndim - 2))
        return jnp.where(real, x, jnp.zeros((), x.dtype))

    def total(self, x: Float[Array, "b t *rest c"]) -> Float[Array, "b c"]:
        """Return the sum over all places of all frames of the video."""
        own = self.only_real(x).reshape(x.shape[0], -1, x.shape[-1]).sum(1)
        return lax.psum(own, self.axis)

    def with_neighbours(self, x: Float[Array, "b t *rest c"]) -> Float[Array, "b t2 *rest c"]:
        """Return the frames of this device between one before and one behind them: t2 = t + 2.

        Beyond the ends of the video they are zeros, which is what a device without a neighbour
        receives.
        """
        x = self.only_real(x)
        on = [(i, i + 1) for i in range(self.devices - 1)]
        back = [(i + 1, i) for i in range(self.devices - 1)]
        before = lax.ppermute(x[:, -1:], self.axis, on)
        behind = lax.ppermute(x[:, :1], self.axis, back)
        return jnp.concatenate([before, x, behind], axis=1)
