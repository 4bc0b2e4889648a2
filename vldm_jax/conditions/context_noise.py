"""How much noise is on the context frames, told to temporal layers.

    z_c = alpha z + sigma eps  at a time of the diffusion, 0 for clean ones

Trained with noise, a model forgives what an earlier stage or window did badly.

Source: Align your Latents, arXiv:2304.08818, App. H (noise on the frames between which is
interpolated); the embedding is ours: the same as the time's.
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
class ContextNoise(Condition):
    """Discrete time (b) of the noise on the context frames; left out, it is not embedded."""

    key: ClassVar[str] = "context_noise"
    meaning: ClassVar[str] = "time of the noise on the context frames, 0 for none"
    required: ClassVar[bool] = False
    of_clip: ClassVar[bool] = True

    def example(self) -> jax.ShapeDtypeStruct:
        """Return the time of one sample."""
        return jax.ShapeDtypeStruct((1,), jnp.float32)

    def embed(self, cond: Conditioning, *, width: int, token_width: int | None) -> Contribution:
        """Return the embedding, from `temporal_condition_context_noise`; 0 when fresh."""
        del token_width
        embed = EmbeddingMLP(width, width, zeros, name="temporal_condition_context_noise")
        return Contribution(emb_temporal=embed(sinusoid(cond[self.key], WAVES)))
