"""Baselines of interpolation: frames made of the first and the last; the key that gives clips.

    x_i = middle(x_0, x_n, i / n),  0 < i < n;    average: (1 - s) x_0 + s x_n for s = i / n

Both ends come out as they went in. A middle that takes a network finds its parameters among those
that the maker is called with.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from einops import rearrange

from vldm_jax.core.errors import InputError
from vldm_jax.sampling.maker import FrameMaker, to_pixels, to_uint8
from vldm_jax.typing import Array, Bool, Conditioning, Float, Int, Key, PyTree, UInt8

PIXELS = "given_video"  # key of the clips that samples are given frames of: (b t h w 3) bytes


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class InBetween(FrameMaker):
    """A baseline: no model of videos.

    Attributes:
        middle: (params, first (b h w 3), last, time () in [0, 1]) -> the frames at that time
            between the two, in [-1, 1].
    """

    middle: Callable[[PyTree, Array, Array, Array], Array]

    def frames(
        self, params: PyTree, key: Key, index: Int[Array, " b"], cond: Conditioning
    ) -> tuple[UInt8[Array, "b t H W 3"], Bool[Array, " b"]]:
        """Return clips of which only the first and the last frame of `cond` are looked at.

        Raises:
            InputError: if there are no clips.
        """
        del key, index
        if PIXELS not in cond:
            raise InputError(f"no frame is given to put others between: give clips as {PIXELS!r}")
        video = jnp.asarray(cond[PIXELS])
        first, last = (to_pixels(video[:, i]) for i in (0, -1))
        gaps = video.shape[1] - 1
        made = jax.lax.map(
            lambda time: self.middle(params, first, last, time), jnp.arange(1, gaps) / gaps
        )
        between = to_uint8(rearrange(made, "t b h w c -> b t h w c"))
        finite = jnp.all(jnp.isfinite(made), axis=(0, 2, 3, 4))
        return jnp.concatenate([video[:, :1], between, video[:, -1:]], axis=1), finite


def average(
    params: PyTree,
    first: Float[Array, "b h w 3"],
    last: Float[Array, "b h w 3"],
    time: Float[Array, ""],
) -> Float[Array, "b h w 3"]:
    """Return the blend of two frames, a `middle` without parameters."""
    del params
    return (1.0 - time) * first + time * last
