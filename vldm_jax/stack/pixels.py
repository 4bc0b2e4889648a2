"""Latents to frames, a few windows at a time: memory does not grow with a video's length."""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.sampling.decoding import InParts, windows
from vldm_jax.sampling.maker import to_uint8
from vldm_jax.stack.plan import StackPlan, read
from vldm_jax.stack.reel import Reel
from vldm_jax.training.precision import cast_frozen
from vldm_jax.typing import Array, PyTree, UInt8


class Decoder:
    """Frames of a reel, decoded in windows of one size, which overlap if frames see each other.

    Args:
        decode: (params, z (1 t h w c)) -> frames (1 t H W 3), about [-1, 1].
        params: its parameters.
        parts: the windows.
    """

    def __init__(
        self,
        decode: Callable[[PyTree, Array], Array],
        params: PyTree,
        parts: InParts,
    ) -> None:
        def pixels(params: PyTree, z: Array) -> tuple[Array, Array]:
            x = decode(params, z[None])[0]
            return to_uint8(x), jnp.isfinite(x).all() & jnp.isfinite(z).all()

        self._run, self._params, self._parts = jax.jit(pixels), params, parts

    @property
    def whole(self) -> bool:
        """Whether a video is decoded at once, so that a part of it takes as long as all."""
        return self._parts.frames is None

    def stream(
        self, reel: Reel, video: int, start: int, stop: int
    ) -> Iterator[UInt8[np.ndarray, "t H W 3"]]:
        """Yield the frames [start, stop) of a video, in order, a window at a time.

        Raises:
            InputError: if one is not finite.
        """
        size = self._parts.frames or len(reel)
        overlap = 0 if self.whole else self._parts.overlap
        for begin, first, last in windows(len(reel), size, overlap):
            first, last = max(first, start), min(last, stop)
            if first >= last:
                continue
            z = reel.between(begin, min(begin + size, len(reel)))[video]
            frames, finite = self._run(self._params, z)
            if not finite:
                raise InputError(
                    f"frames {first} to {last - 1} are not finite numbers: the weights of a part "
                    "are damaged, or were trained for another precision"
                )
            yield np.asarray(frames)[first - begin : last - begin]

    def frames(self, reel: Reel, video: int, start: int, stop: int) -> UInt8[np.ndarray, "t H W 3"]:
        """Return the frames [start, stop) of a video; as `stream`."""
        return np.concatenate(list(self.stream(reel, video, start, stop)))


def decoder_of(plan: StackPlan) -> Decoder:
    """Return what makes pixels: the decoder of the stack, or of the latents' own autoencoder."""
    if plan.decoder is None:
        space = plan.prediction.stage.space
        return Decoder(space.decode, cast_frozen(space.given(), "float32"), space.parts)
    maker, (params, _) = plan.decoder.stage.sampler(), read(plan.decoder)
    return Decoder(maker.decode, params, maker.parts)
