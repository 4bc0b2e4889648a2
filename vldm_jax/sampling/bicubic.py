"""The baseline of upsamplers: frames resized, without a network."""

import dataclasses
from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np

from vldm_jax.sampling.maker import FrameMaker, to_pixels, to_uint8
from vldm_jax.sampling.upsampling import LOW, bicubic, split_low
from vldm_jax.typing import Array, Bool, Conditioning, Int, Key, PyTree, UInt8

PIECE = 16  # frames that are made at once


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Bicubic(FrameMaker):
    """The baseline: frames resized, no network."""

    def frames(
        self, params: PyTree, key: Key, index: Int[Array, " b"], cond: Conditioning
    ) -> tuple[UInt8[Array, "b t H W 3"], Bool[Array, " b"]]:
        """Return the low-resolution frames of `cond` at four times their size."""
        del params, key
        low, _ = split_low(cond)
        return to_uint8(bicubic(to_pixels(low))), jnp.ones(index.shape, bool)

    def stream(
        self,
        params: PyTree,
        key: Key,
        index: Int[Array, " b"],
        cond: Conditioning,
        *,
        start: int = 0,
    ) -> Iterator[UInt8[np.ndarray, "b t H W 3"]]:
        """Yield the same frames on the host, some at a time; as `Upsampler.stream`."""
        low, _ = split_low(cond)
        for first in range(start, low.shape[1], PIECE):
            piece = {LOW: jnp.asarray(low[:, first : first + PIECE])}
            yield np.asarray(self.frames(params, key, index, piece)[0])
