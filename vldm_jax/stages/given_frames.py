"""Which frames of a clip a model is given in training, and how much noise is on them.

    config.objective.given = ((1.0, ()), (1.0, (0,)), (1.0, (0, 1)))    prediction: S in {0, 1, 2}
    config.objective.given = ((1.0, (0, 4)),)                           interpolation of 5 frames

Each clip draws one of the patterns (weight, frames). The loss is over all frames, given ones too:
the network sees noisy latents of each.

Source: Align your Latents, arXiv:2304.08818, Sec. 3.2 and 3.3; the weights of S are not told.
"""

import dataclasses
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
from vldm_jax.typing import Array, Bool, Conditioning, Float, Key


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class GivenFrames:
    """What is drawn for each clip.

    Attributes:
        masks: (patterns t), which frames each pattern gives.
        weights: of the patterns, any positive numbers.
        noise: largest time of the noise on given frames; 0 for none.
    """

    masks: Bool[np.ndarray, "patterns t"]
    weights: tuple[float, ...]
    noise: int

    def draw(self, key: Key, count: int) -> Bool[Array, "b t"]:
        """Return the frames that each of `count` clips is given."""
        logits = jnp.log(jnp.asarray(self.weights, jnp.float32))
        return jnp.asarray(self.masks)[jax.random.categorical(key, logits, shape=(count,))]

    def told(self, z: Float[Array, "b t h w c"], schedule: Schedule, key: Key) -> Conditioning:
        """Return the context frames of clips and, if there may be noise on them, its time."""
        given = self.draw(stream(key, "given"), len(z))
        if not self.noise:
            return {ContextFrames.key: context_of(z, given)}
        time = jax.random.randint(stream(key, "time"), (len(z),), 0, self.noise + 1)
        eps = jax.random.normal(stream(key, "noise"), z.shape, jnp.float32)
        return {
            ContextFrames.key: context_of(noised(z, eps, time, schedule), given),
            ContextNoise.key: time.astype(jnp.float32),
        }


def given_frames(patterns: Any, noise: int, frames: int, steps: int) -> GivenFrames:
    """Return what a config means.

    Args:
        patterns: `config.objective.given`.
        noise: `config.objective.given_noise`.
        frames: of a clip.
        steps: of the diffusion.

    Raises:
        InputError: naming the pattern that cannot be.
    """
    masks, weights = [], []
    for pattern in patterns:
        weight, which = pattern if isinstance(pattern, tuple) and len(pattern) == 2 else (0, None)
        good = (
            type(weight) in (int, float) and 0 < weight < float("inf")
            and isinstance(which, tuple) and all(type(i) is int for i in which)
        )  # fmt: skip
        if not good or not set(which) < set(range(frames)):
            raise InputError(
                f"config.objective.given: {pattern!r} must be (weight, frames), a positive number "
                f"and some of the frames 0 to {frames - 1}, not all: as (1.0, (0, 1))"
            )
        masks.append(np.isin(np.arange(frames), which))
        weights.append(float(weight))
    if not 0 <= noise < steps:
        raise InputError(
            f"config.objective.given_noise={noise} must be a time of the diffusion, from 0 (none) "
            f"to {steps - 1}"
        )
    return GivenFrames(masks=np.stack(masks), weights=tuple(weights), noise=noise)
