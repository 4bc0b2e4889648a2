"""A detector of small objects in single frames, with binary attributes of the whole frame.

Objects are points: a heat map has a peak at the centre of each, and beside it stand the object's
size and where in the cell its centre lies (CenterNet, arXiv:1904.07850, Sec. 3 and 4; how boxes
become maps and maps boxes is `detector_maps`). The network is fully convolutional, so it takes
frames of any size; it was never larger than what a car of two by two pixels asks for.

    x -> stem, stride 2 -> levels, each half the size of the one before -> up again, added
                        -> heat map, size, offset at half the size of x
                        last level, mean over space -> attributes

Deviations: maps at stride 2 (4 there), for cars of the driving world are as small as 1.5 pixels;
sizes are logarithms, since a pixel is nothing to a near truck and all to a far car; the attributes.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vldm_jax.core.fields import COUNT, NATURAL, RATE, check_fields, several
from vldm_jax.models.detector_maps import STRIDE, Maps
from vldm_jax.nn.conv import Conv
from vldm_jax.nn.dense import Dense
from vldm_jax.nn.init import zeros
from vldm_jax.nn.norm import GroupNorm
from vldm_jax.typing import Array, DTypeLike, Float

RULES = {
    "widths": several(COUNT),
    "blocks": COUNT,
    "head": COUNT,
    "norm_groups": COUNT,
    "attributes": NATURAL,
    "threshold": RATE,
}
PRIOR = 0.01  # share of cells that the untrained network takes for centres: the loss starts small


class Detector(nn.Module):
    """Maps of a batch of frames.

    Attributes:
        widths: channels of each level; the first is at half the size of the frame.
        blocks: residual blocks of each level but the first, which has one.
        head: channels in front of the maps.
        norm_groups: groups of the norms; divides every width and `head`.
        attributes: binary attributes of a frame.
        threshold: score from which a peak counts as an object.
        dtype: compute type.
    """

    widths: tuple[int, ...] = (16, 32, 48, 64)
    blocks: int = 2
    head: int = 24
    norm_groups: int = 8
    attributes: int = 1
    threshold: float = 0.3
    dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        """Look at each field by itself.

        Raises:
            InputError: naming one that no detector has.
        """
        check_fields("detector", self, RULES)
        super().__post_init__()

    def smallest_inputs(self, channels: int) -> tuple[Any, ...]:
        """Return the shape of a frame of one pixel; parameters need no more."""
        del channels
        return (jax.ShapeDtypeStruct((1, 1, 1, 3), jnp.float32),)

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"]) -> Maps:
        """Return the maps of frames in [-1, 1], float32.

        Raises:
            InputError: if `norm_groups` does not divide a width.

        Source: arXiv:1904.07850, Sec. 3 and 4.
        """
        x = self._conv(self.widths[0], "stem", stride=STRIDE)(x)
        levels = []
        for level, width in enumerate(self.widths):
            if level:
                x = self._conv(width, f"down_{level}", stride=2)(x)
            for block in range(self.blocks if level else 1):
                x = self._block(x, f"level_{level}_{block}")
            levels.append(x)
        attributes = self._out(x.mean((1, 2))[:, None, None], self.attributes, "attributes")
        for level in reversed(range(len(self.widths) - 1)):
            aside = levels[level]
            x = self._conv(self.widths[level], f"up_{level}", size=1)(x)
            x = aside + _twice(x)[:, : aside.shape[1], : aside.shape[2]]
        x = self._conv(self.head, "head")(self._normed(x, "head_norm"))
        x = self._normed(x, "maps_norm")
        maps = self._out(x, 5, "maps")
        return Maps(
            heat=maps[..., 0] + math.log(PRIOR / (1 - PRIOR)),
            size=maps[..., 1:3],
            offset=maps[..., 3:5],
            attributes=attributes[:, 0, 0],
        )

    def _block(self, x, name):
        """Two convolutions around which the input goes, and which begin as nothing."""
        y = self._conv(x.shape[-1], f"{name}_conv1")(self._normed(x, f"{name}_norm1"))
        return x + self._conv(x.shape[-1], f"{name}_conv2", zero=True)(
            self._normed(y, f"{name}_norm2")
        )

    def _normed(self, x, name):
        return nn.relu(GroupNorm(self.norm_groups, dtype=self.dtype, name=name)(x))

    def _conv(self, features, name, *, size=3, stride=1, zero=False):
        more = {"kernel_init": zeros} if zero else {}
        return Conv(
            features, (size, size), stride=stride, dtype=self.dtype, name=name, **more
        )  # fmt: skip

    def _out(self, x, features, name):
        """A product in float32: what is read off as numbers is not rounded."""
        return Dense(features, dtype=jnp.float32, name=name)(x.astype(jnp.float32))


def _twice(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    """Return an image of twice the size, each pixel four times."""
    b, h, w, c = x.shape
    wide = jnp.broadcast_to(x[:, :, None, :, None], (b, h, 2, w, 2, c))
    return wide.reshape(b, 2 * h, 2 * w, c)
