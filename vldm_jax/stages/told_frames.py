"""Which frames samples are given, and that these come out unchanged.

    config.sampling.given = (0, 1)     of a real clip: in evaluations and previews
    config.sampling.given_noise = 0    time of the noise on given frames, which the network is told

A sample is told its frames in one of two ways: as pixels of a clip ("given_video"), of which those
of `given` are encoded, or as latents and mask ("context_frames"), as a stack of models hands them
on. Neither is no frame given.

Source: Align your Latents, arXiv:2304.08818, Sec. 3.2; that given latents are put in the place of
the sampled ones is ours.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vldm_jax.conditions.context_frames import ContextFrames, context_of
from vldm_jax.conditions.context_noise import ContextNoise
from vldm_jax.core.errors import InputError
from vldm_jax.core.rng import stream
from vldm_jax.diffusion.process import noised
from vldm_jax.diffusion.schedules import Schedule
from vldm_jax.sampling.inbetween import PIXELS
from vldm_jax.sampling.noise import sample_noise
from vldm_jax.sampling.sampler import Finish, Sampler
from vldm_jax.sampling.windows import Window
from vldm_jax.typing import Array, Conditioning, Float, Int, Key, PyTree


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ToldFrames:
    """What `Sampler.tell` is for a network that takes context frames.

    Attributes:
        tells_noise: whether the network is told the time of the noise on given frames.
        schedule: of the noise.
        noise: that time; 0 for none.
        given: frames that a clip's pixels give.
        encode: (params, frames (b t H W 3), keys (b)) -> z (b t h w c); needed if some are given.
    """

    tells_noise: bool
    schedule: Schedule
    noise: int = 0
    given: tuple[int, ...] = ()
    encode: Callable[[PyTree, Array, Key], Float[Array, "b t h w c"]] | None = None

    def __call__(
        self, params: PyTree, key: Key, index: Int[Array, " b"], cond: Conditioning
    ) -> tuple[Conditioning, Finish]:
        """Return what the network is told, and what puts given frames in their places.

        Raises:
            InputError: if frames are to be given, and there is nothing to take them of.
        """
        told = dict(cond)
        video, clean = told.pop(PIXELS, None), told.pop(ContextFrames.key, None)
        time = jnp.full(index.shape, self.noise)
        if self.tells_noise:
            told[ContextNoise.key] = time.astype(jnp.float32)
        if clean is None and self.given:
            if video is None:
                raise no_clip(self.given)
            clean = self._of_pixels(params, video, key)
        if clean is None:
            return told, lambda z: z
        z, given = clean[..., :-1], clean[..., -1:] > 0
        # Not the numbers that the posterior was sampled with.
        noise_keys = jax.vmap(lambda one: stream(one, "noise"))(key)
        seen = noised(z, sample_noise(noise_keys, z.shape), time, self.schedule)
        told[ContextFrames.key] = context_of(seen, given[:, :, 0, 0, 0])
        return told, lambda sampled: jnp.where(given, z, sampled)

    def _of_pixels(self, params: PyTree, video: Array, key: Key) -> Array:
        assert self.encode is not None
        which = np.asarray(self.given)
        known = self.encode(params, video[:, which], key)
        shape = (*video.shape[:2], *known.shape[2:])
        z = jnp.zeros(shape, known.dtype).at[:, which].set(known)
        mask = np.isin(np.arange(video.shape[1]), which)
        return context_of(z, jnp.broadcast_to(mask, video.shape[:2]))


def window_of(
    sampler: Sampler, params: PyTree, key: Key, index: Int[Array, " b"], cond: Conditioning
) -> Window:
    """Return what makes windows of videos, or gaps of one, for `sampling.windows`.

    Args:
        sampler: of a network with context frames.
        params: to call it with.
        key: of the videos; each window draws from it by its number.
        index: numbers of the videos, or of the gaps of one whose key it is.
        cond: what they are to be, every array leading with b.

    Returns:
        (z (b t h w c), given (b t), number) -> z of all frames, those that are given unchanged.
    """

    def window(z: Array, given: Array, number: int | Array) -> Array:
        told = {**cond, ContextFrames.key: context_of(z, given)}
        return sampler.latents(params, jax.random.fold_in(key, number), index, told)

    return window


def no_clip(given: tuple[int, ...]) -> InputError:
    """Return the error of samples that are to be given frames, and are not."""
    return InputError(
        f"config.sampling.given={given}, and there is no clip to take these frames of: vldm "
        "evaluate gives real clips', a stack its own; or set it to ()"
    )


def check_given(given: Any, noise: int, frames: int, steps: int, takes: bool) -> None:
    """Raise unless `config.sampling.given` and `given_noise` can be.

    Args:
        given: frames.
        noise: time.
        frames: of a clip.
        steps: of the diffusion.
        takes: whether the network takes context frames.

    Raises:
        InputError: naming the key.
    """
    good = isinstance(given, tuple) and all(type(i) is int for i in given)
    if not good or not set(given) < set(range(frames)):
        raise InputError(
            f"config.sampling.given={given!r} must be some of the frames 0 to {frames - 1}, not "
            "all: as (0, 1); () for none"
        )
    if given and not takes:
        raise InputError(
            f"config.sampling.given={given}, but the network was made without context frames: "
            "leave it (), or train with config.objective.given"
        )
    if not 0 <= noise < steps:
        raise InputError(
            f"config.sampling.given_noise={noise} must be a time of the diffusion, from 0 (none) "
            f"to {steps - 1}"
        )


def check_method(method: Any, methods: Sequence[str], given: tuple[int, ...], frames: int) -> None:
    """Raise unless `config.sampling.method` is one that can make the frames that are not given.

    Args:
        method: what the config says.
        methods: that there are, of which the first takes any frames; the others are baselines.
        given: frames.
        frames: of a clip.

    Raises:
        InputError: naming the key.
    """
    if method not in methods:
        raise InputError(f"config.sampling.method={method!r}: choose one of {', '.join(methods)}")
    if method != methods[0] and {*given} != {0, frames - 1}:
        raise InputError(
            f"config.sampling.method={method!r} puts frames between the first and the last, and "
            f"config.sampling.given={given}: set that to (0, {frames - 1}), or the method to "
            f"{methods[0]!r}"
        )
