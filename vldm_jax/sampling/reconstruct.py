"""Frames that are made of frames: what an autoencoder, or its decoder, is evaluated by.

    frames -> encoder, each frame alone -> z -> decoder -> uint8

Nothing is drawn: the encoder gives the posterior's mean.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax

from vldm_jax.sampling.decoding import InParts
from vldm_jax.sampling.maker import FrameMaker, to_frames
from vldm_jax.typing import Array, Bool, Conditioning, Int, Key, PyTree, UInt8

FRAMES = "frames"  # key of what a sample is to be


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Reconstructor(FrameMaker):
    """The parts that make reconstructions.

    Attributes:
        encode: (params, frames (n H W 3) uint8) -> z (n h w c).
        decode: (params, z (b t h w c)) -> frames (b t H W 3), about [-1, 1].
        parts: how much of a video `decode` decodes at once.
        shares_frames: whether it splits the frames of a sample over the devices.
    """

    encode: Callable[[PyTree, Array], Array]
    decode: Callable[[PyTree, Array], Array]
    parts: InParts
    shares_frames: bool = False

    def frames(
        self, params: PyTree, key: Key, index: Int[Array, " b"], cond: Conditioning
    ) -> tuple[UInt8[Array, "b t H W 3"], Bool[Array, " b"]]:
        """Return reconstructions of `cond["frames"]`, (b t H W 3) uint8; as `FrameMaker.frames`."""
        del key, index
        z = jax.lax.map(functools.partial(self.encode, params), cond[FRAMES])
        return to_frames(functools.partial(self.decode, params), z)
