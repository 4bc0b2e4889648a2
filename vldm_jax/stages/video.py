"""Temporal alignment: temporal layers are inserted into a frozen image model and trained on clips.

    z0[t] = s E(x[t])  for each frame of a clip, stop-gradient                                (1)
    one time a clip, independent noise a frame, then the loss of `denoising_loss.py`          (2)

What temporal layers stand on, and what they leave behind, is in `temporal.py`; which frames a clip
is given, so that the model goes on from them, in `given_frames.py` and `told_frames.py`. Samples
that are given both ends of a real clip are to be that clip, and have baselines
(`config.sampling.method`): the two ends blended, and the middle frames of RIFE.

Source: Align your Latents, arXiv:2304.08818, Sec. 3.1.1.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from vldm_jax.conditions.context_frames import ContextFrames
from vldm_jax.conditions.context_noise import ContextNoise
from vldm_jax.conditions.frame_rate import FrameRate
from vldm_jax.config.base import video_config
from vldm_jax.core.errors import InputError
from vldm_jax.evals.flow import interpolate
from vldm_jax.evals.networks.flow_weights import load_flow_weights
from vldm_jax.interop.weights import WeightsFile
from vldm_jax.sampling.inbetween import PIXELS, InBetween, average
from vldm_jax.sampling.maker import FrameMaker
from vldm_jax.sampling.sampler import Guidance, Tell, as_asked
from vldm_jax.stages.denoising import DENOISE
from vldm_jax.stages.given_frames import GivenFrames, given_frames
from vldm_jax.stages.origin import check_length
from vldm_jax.stages.temporal import TemporalStage
from vldm_jax.stages.told_frames import ToldFrames, check_given, check_method, no_clip
from vldm_jax.typing import Array, Conditioning, Float, Key, PyTree

RIFE = "rife"


def _rife(params: PyTree, first: Array, last: Array, time: Array) -> Array:
    return interpolate(params[RIFE], first, last, time)


BASELINES = {"average": average, RIFE: _rife}


class VideoStage(TemporalStage):
    """Denoising of clips, of which some frames may be given."""

    base = staticmethod(video_config)
    objective_keys = (*TemporalStage.objective_keys, "given", "given_noise")

    def __init__(self, config: ConfigDict) -> None:
        super().__init__(config)
        self.given_frames, self.rates = self._given_frames(), self._rates()
        check_given(
            config.sampling.given, config.sampling.given_noise, config.data.num_frames,
            self.diffusion.schedule.num_steps, self.given_frames is not None,
        )  # fmt: skip
        check_method(
            config.sampling.method, (DENOISE, *BASELINES), config.sampling.given,
            config.data.num_frames,
        )  # fmt: skip

    def _given_frames(self) -> GivenFrames | None:
        """Return what frames clips are given; None for a network that takes none."""
        objective, known = self.config.objective, {ContextFrames.key, ContextNoise.key}
        taken = known & {c.key for c in self.conditions}
        if not taken and not objective.given:
            return None
        wanted = {ContextFrames.key} | ({ContextNoise.key} if objective.given_noise else set())
        if not objective.given or taken != wanted:
            raise InputError(
                f"config.objective.given={objective.given} and given_noise="
                f"{objective.given_noise}, but the network takes {', '.join(sorted(taken)) or None}"
                " of a clip: give patterns to a network with {'kind': 'context_frames', 'channels':"
                " C} in config.model.network.more_conditions and, where there is noise, {'kind': "
                "'context_noise'}, and to no other"
            )
        return given_frames(
            objective.given, objective.given_noise, self.config.data.num_frames,
            self.diffusion.schedule.num_steps,
        )  # fmt: skip

    def _rates(self) -> tuple[float, ...]:
        """Return the frame rates that the network tells apart; () if it knows one."""
        data = self.config.data
        known = [c.rates for c in self.conditions if isinstance(c, FrameRate)]
        wanted = {float(rate) for rate in (data.fps, *data.more_fps)}
        told = set(known[0]) if known else {float(data.fps)}
        if not wanted <= told:
            raise InputError(
                f"config.data.fps={data.fps} and more_fps={data.more_fps}, but the network "
                + (f"knows {known[0]} fps" if known else "is not told the rate")
                + ": give these rates to a network with {'kind': 'frame_rate', 'rates': (...)} in "
                "config.model.network.more_conditions"
            )
        return known[0] if known else ()

    def of_clip(
        self, batch: dict[str, Any], z: Float[Array, "b *t h w c"], key: Key
    ) -> Conditioning:
        """Return the frames that each clip is given, and its rate if the network is told it."""
        told = {FrameRate.key: batch[FrameRate.key]} if self.rates else {}
        if self.given_frames is not None:
            told |= self.given_frames.told(z, self.diffusion.schedule, key)
        return told

    def check_trained(self, file: WeightsFile) -> None:
        """As of every denoising stage; and raise for clips of a length that the layers cannot."""
        check_length(file, self.config.data.num_frames)
        super().check_trained(file)

    def meaning(self) -> dict[str, Any]:
        """As of temporal layers, which know a frame rate, unless they are told it."""
        meant = super().meaning()
        if self.rates:
            del meant["fps"]
        return meant

    @property
    def guidance(self) -> tuple[Guidance, ...]:
        """As of every denoising stage; and context guidance, paper Eq. 4."""
        context = Guidance((ContextFrames.key,), self.config.sampling.context_guidance)
        return (*super().guidance, context)

    @property
    def tell(self) -> Tell:
        """What a network with context frames is told of them."""
        if self.given_frames is None:
            return as_asked
        sampling, space = self.config.sampling, self.space

        def encode(params: PyTree, video: Array, keys: Key) -> Array:
            def one(frames: Array, key: Key) -> Array:
                return space.encode(params, {"video": frames[None]}, "video", key)[0]

            return jax.vmap(one)(video, keys)

        return ToldFrames(
            given=sampling.given,
            noise=sampling.given_noise,
            tells_noise=any(c.key == ContextNoise.key for c in self.conditions),
            schedule=self.diffusion.schedule,
            encode=encode,
        )

    def sampler(self) -> FrameMaker:
        """Return what samples, or one of the baselines, by `config.sampling`."""
        if (method := self.config.sampling.method) in BASELINES:
            return InBetween(middle=BASELINES[method])
        return super().sampler()

    def given(self) -> PyTree:
        """As of every denoising stage; and the network of RIFE if samples are made by it."""
        rife = self.config.sampling.method == RIFE
        return {**super().given(), **({RIFE: load_flow_weights()} if rife else {})}

    @property
    def compared(self) -> tuple[int, ...]:
        """The frames that are not given, of samples that are given both ends of a clip."""
        given, frames = self.config.sampling.given, range(self.config.data.num_frames)
        return tuple(i for i in frames if i not in given) if {0, frames[-1]} <= {*given} else ()

    @property
    def conditioning_frames(self) -> int:
        """Number of frames of a real clip that a sample which is to be like it is given."""
        return len(self.config.sampling.given)

    def asked_of(
        self, examples: Sequence[Mapping[str, Any]], unknown: Mapping[str, Sequence[str]]
    ) -> Conditioning:
        """As of every denoising stage; and the pixels that `config.sampling.given` gives."""
        asked = super().asked_of(examples, unknown)
        if not self.config.sampling.given:
            return asked
        return {**asked, PIXELS: np.stack([one[self.frames] for one in examples])}

    def describe(self, cond: Conditioning) -> dict[str, Any]:
        """As of every denoising stage; and the SHA-256 of the frames that are given.

        Raises:
            InputError: if frames are to be given, and there is no clip to take them of.
        """
        told, given = super().describe(cond), self.config.sampling.given
        if not given:
            return told
        if PIXELS not in cond:
            raise no_clip(given)
        frames = np.ascontiguousarray(cond[PIXELS][:, list(given)])
        return {**told, "given_sha256": hashlib.sha256(frames).hexdigest()}

    def fixed(self, shape: tuple[Any, ...]) -> Conditioning:
        """As of temporal layers; and the rate if it is told."""
        told = super().fixed(shape)
        if self.rates:
            told[FrameRate.key] = jnp.full(shape, float(self.config.data.fps), jnp.float32)
        return told

    @property
    def needs(self) -> tuple[str, ...]:
        """As of every denoising stage; and the rate if the network is told it."""
        return (*super().needs, *((FrameRate.key,) if self.rates else ()))
