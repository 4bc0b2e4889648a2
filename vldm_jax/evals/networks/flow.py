"""RIFE's flow network: from two frames, the motion between them and the frame in the middle.

Four blocks, from an eighth of the size to the whole, each correct what the one before found
(arXiv:2011.06294, Sec. 3.2). With frames I_0 and I_1, a time t between them, flows F_0 and F_1 from
the frame at t to the two, a mask m and the backward warping W,

    F^i = F^{i-1} + g^i(W(I_0, F_0^{i-1}), W(I_1, F_1^{i-1}), t, m^{i-1}, F^{i-1})
    I_t = sigmoid(m) * W(I_0, F_0) + (1 - sigmoid(m)) * W(I_1, F_1)

This is the network alone, the IFNet of RIFE's version 3.9, which takes a time and refines nothing
after the merge. What figures ask of it is `vldm_jax.evals.flow`; where its parameters come from,
`vldm_jax.evals.networks.flow_weights`.

Deviation: version 3.9 starts again at half the size where both flows of a batch somewhere exceed 32
pixels; here a pair's result doesn't depend on the others of its batch, so that is left out.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from vldm_jax.core.errors import InputError
from vldm_jax.evals.networks.resample import resize, warp
from vldm_jax.typing import Array, Float

# (width, fraction of the size at which it works) of the blocks.
BLOCKS = ((192, 8), (128, 4), (96, 2), (64, 1))
MULTIPLE = 32  # of height and width: the first block halves an eighth of them twice


class Between(NamedTuple):
    """What is found between two frames.

    Attributes:
        to_first: (b h w 2) pixels to the right and down, from the frame at `time` to the first.
        to_last: the same to the last frame.
        mask: (b h w 1) in [0, 1], the share of the first frame.
        frame: (b h w 3) the merged frame at `time`, in [-1, 1].
    """

    to_first: Float[Array, "b h w 2"]
    to_last: Float[Array, "b h w 2"]
    mask: Float[Array, "b h w 1"]
    frame: Float[Array, "b h w 3"]


class PReLU(nn.Module):
    """Keep what is positive, scale what is negative by a parameter `slope` a channel."""

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Return the same shape.

        Source: arXiv:1502.01852, eq. 1.
        """
        slope = self.param("slope", nn.initializers.constant(0.25), x.shape[-1:])
        return jnp.where(x > 0, x, x * slope.reshape(1, 1, 1, -1))


class Block(nn.Module):
    """One step: a correction of both flows and of the mask's logits.

    Attributes:
        width: channels.
        scale: it works at 1/scale of the size.
    """

    width: int
    scale: float

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w 5"]:
        """Return flows to the first and to the last frame, in pixels, and logits.

        Args:
            x: (b h w c) frames, time, logits, and flows already in units of `scale` pixels.
        """
        x = self._conv(resize(x, 1 / self.scale), "half", self.width // 2, stride=2)
        x = skip = self._conv(x, "quarter", self.width, stride=2)
        for index in range(8):
            x = self._conv(x, f"conv_{index}", self.width)
        x = nn.ConvTranspose(5, (4, 4), strides=(2, 2), name="out")(x + skip)
        x = resize(x, 2 * self.scale)
        return jnp.concatenate([x[..., :4] * (2 * self.scale), x[..., 4:]], axis=-1)

    def _conv(self, x, name, width, stride=1):
        x = nn.Conv(width, (3, 3), strides=stride, padding=1, name=name)(x)
        return PReLU(name=f"{name}_act")(x)


class FlowNet(nn.Module):
    """RIFE's IFNet, version 3.9.

    Attributes:
        enlarge: times the size at which it looks for motion; RIFE's own option `scale`.
    """

    enlarge: int = 1

    @nn.compact
    def __call__(
        self,
        first: Float[Array, "b h w 3"],
        last: Float[Array, "b h w 3"],
        time: float | Float[Array, ""] = 0.5,
    ) -> Between:
        """Return flows, mask and frame at `time` between two frames.

        Args:
            first: (b h w 3) in [-1, 1], h and w multiples of 32.
            last: the same.
            time: in [0, 1], 0 at the first frame.

        Raises:
            InputError: if a side is no multiple of 32.
        """
        b, h, w, _ = first.shape
        if h % MULTIPLE or w % MULTIPLE:
            raise InputError(f"frames of {h}x{w}: give sides that are multiples of {MULTIPLE}")
        first, last = (first + 1) / 2, (last + 1) / 2
        times = jnp.full((b, h, w, 1), time, first.dtype)
        flows, logits = None, None
        seen = (first, last)
        for index, (width, scale) in enumerate(BLOCKS):
            scale = scale / self.enlarge
            known = (logits, flows / scale) if index else ()
            x = jnp.concatenate([*seen, times, *known], axis=-1)
            found = Block(width, scale, name=f"block_{index}")(x)
            flows = flows + found[..., :4] if index else found[..., :4]
            logits = logits + found[..., 4:] if index else found[..., 4:]
            seen = (warp(first, flows[..., :2]), warp(last, flows[..., 2:]))
        mask = jax.nn.sigmoid(logits)
        frame = mask * seen[0] + (1 - mask) * seen[1]
        return Between(flows[..., :2], flows[..., 2:], mask, 2 * frame - 1)
