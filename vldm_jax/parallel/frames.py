"""One video on several devices: each has a run of its frames.

    decode = over_frames(lambda params, z, axis, frames: ..., jax.devices())
    video = decode(params, z)

The function sees its device's frames, and asks for those of others by the name of the axis
(`nn.frames`). The result is that of one device, to rounding; memory and time are divided.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from vldm_jax.typing import Array, PyTree

FRAMES = "frames"


def over_frames(
    function: Callable[[PyTree, Array, str, int], Array], devices: Sequence[jax.Device]
) -> Callable[[PyTree, Array], Array]:
    """Return a function of (params, x) of whole videos that runs split over their frames.

    Args:
        function: (params, x, axis, frames) -> y; x and y are (b t/n ...), a device's frames of
            videos of so many frames.
        devices: where; params are whole on each.
    """
    mesh, count = Mesh(np.asarray(devices), (FRAMES,)), len(devices)
    frames_on = PartitionSpec(None, FRAMES)

    def run(params: PyTree, x: Array) -> Array:
        total = x.shape[1]
        filled = [(0, 0)] * x.ndim
        filled[1] = (0, -total % count)

        def local(params: PyTree, x: Array) -> Array:
            return function(params, x, FRAMES, total)

        split = jax.shard_map(
            local, mesh=mesh, in_specs=(PartitionSpec(), frames_on), out_specs=frames_on
        )
        return split(params, jnp.pad(x, filled))[:, :total]

    return run
