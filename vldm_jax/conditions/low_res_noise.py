"""How much noise is on the low-resolution frames that an upsampler is given, told to all layers.

    c = alpha low + sigma eps  at a time of the diffusion, 0 for none                          (1)

Trained with noise, an upsampler forgives what the model before it did badly, and the time says how
much of what it sees it may trust. Stable Diffusion's x4 upscaler has a class of each time in the
place of this (`class_labels`).

Source: Align your Latents, arXiv:2304.08818, Eq. 5; that the embedding is the diffusion time's own
kind, added to it, is ours.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from vldm_jax.conditions.base import Condition, Contribution
from vldm_jax.nn.embeddings import EmbeddingMLP, sinusoid
from vldm_jax.nn.init import zeros
from vldm_jax.typing import Conditioning

WAVES = 256  # features of the sinusoid


@dataclasses.dataclass(frozen=True, kw_only=True)
class LowResNoise(Condition):
    """Discrete time (b) of the noise on the low-resolution frames; it knows no null."""

    key: ClassVar[str] = "low_res_noise"
    meaning: ClassVar[str] = "time of the noise on the low-resolution frames, 0 for none"
    of_clip: ClassVar[bool] = True

    def example(self) -> jax.ShapeDtypeStruct:
        """Return the time of one sample."""
        return jax.ShapeDtypeStruct((1,), jnp.float32)

    def embed(self, cond: Conditioning, *, width: int, token_width: int | None) -> Contribution:
        """Return the embedding, from `condition_low_res_noise`; 0 when fresh."""
        del token_width
        embed = EmbeddingMLP(width, width, zeros, name="condition_low_res_noise")
        return Contribution(emb=embed(sinusoid(cond[self.key], WAVES)))
