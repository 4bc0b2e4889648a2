"""Frames to frames of four times their height and width, in chunks that know of each other.

Source: Align your Latents, arXiv:2304.08818, Sec. 3.4.
"""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vldm_jax.core.errors import naming
from vldm_jax.core.rng import stream
from vldm_jax.sampling.upsampling import LOW
from vldm_jax.stack.pixels import Decoder
from vldm_jax.stack.plan import Part, read
from vldm_jax.stack.reel import Reel
from vldm_jax.stack.request import Request
from vldm_jax.typing import Array, Key, UInt8

PIECE = 64  # low-resolution frames of one file


def keep_frames(decoder: Decoder, latents: Reel, frames: Reel, count: int, said: Any) -> None:
    """Append to a reel of bytes the decoded frames (videos t h w 3) that it lacks.

    Args:
        decoder: of the latents.
        latents: all of them.
        frames: gets `count` of each video: an upsampler looks back and ahead.
        count: number of frames of the video.
        said: is told how many there are.
    """
    videos = latents.between(0, 1).shape[0]
    while len(frames) < count:
        start = len(frames)
        stop = count if decoder.whole else min(start + PIECE, count)
        made = [decoder.frames(latents, video, start, stop) for video in range(videos)]
        frames.append(jnp.asarray(np.stack(made)))
        said(len(frames))


class Enlarger:
    """The upsampler of a stack.

    Args:
        part: of the stack.
        request: what is asked for.
        frames: of the video, all of them.
    """

    def __init__(self, part: Part, request: Request, frames: Reel) -> None:
        self._name, self._frames = part.name, frames
        self._maker, (self._params, _) = part.stage.sampler(), read(part)
        self._key = key_of(part, request.seed)
        self._cond = functools.partial(request.of, part)
        self._numbers = request.numbers

    def stream(self, video: int, start: int) -> Iterator[UInt8[np.ndarray, "t H W 3"]]:
        """Yield the frames of a video from `start` on, four times as high and wide.

        Raises:
            InputError: if a frame is not finite.
        """
        told = {name: jnp.asarray(a) for name, a in self._cond([video]).items()}
        cond, index = {**told, LOW: OfVideo(self._frames, video)}, self._numbers[[video]]
        with naming(f"config.parts.{self._name}"):
            for (made,) in self._maker.stream(
                self._params, self._key, jnp.asarray(index), cond, start=start
            ):
                yield made


def key_of(part: Part, seed: int) -> Key:
    """Return the key of an upsampler of a seed."""
    return stream(jax.random.key(seed), part.model)


class OfVideo:
    """The frames of one video as an array (1 t h w 3) that is read a few frames at a time."""

    def __init__(self, frames: Reel, video: int) -> None:
        self._frames, self._video = frames, video
        first = frames.between(0, 1)
        self.shape = (1, len(frames), *first.shape[2:])

    def __getitem__(self, key: tuple[slice, Any]) -> UInt8[Array, "1 t h w 3"]:
        """Return frames; of the first axis all are taken."""
        which = np.arange(self.shape[1])[key[1]]
        low = int(which.min())
        part = self._frames.between(low, int(which.max()) + 1)[self._video]
        return part[None, which - low]
