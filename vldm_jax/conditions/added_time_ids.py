"""Numbers of each sample that are embedded like the time and added to it.

Stable Video Diffusion's are frames per second - 1, motion bucket and noise augmentation.

Source: arXiv:2311.15127, App. D; diffusers' `UNetSpatioTemporalConditionModel`.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from einops import rearrange

from vldm_jax.conditions.base import Condition, Contribution
from vldm_jax.core.errors import InputError
from vldm_jax.nn.embeddings import EmbeddingMLP, sinusoid
from vldm_jax.typing import Conditioning


@dataclasses.dataclass(frozen=True, kw_only=True)
class AddedTimeIds(Condition):
    """Numbers (b k), a sinusoid of each and one MLP for all; they know no null.

    Attributes:
        count: numbers a sample.
        sinusoid_width: features of each.
    """

    count: int
    sinusoid_width: int = 256
    key: ClassVar[str] = "added_time_ids"
    field: ClassVar[str] = "added_time_ids"
    meaning: ClassVar[str] = "fps - 1, motion bucket, noise augmentation"

    def example(self) -> jax.ShapeDtypeStruct:
        """Return the numbers of one sample."""
        return jax.ShapeDtypeStruct((1, self.count), jnp.float32)

    def embed(self, cond: Conditioning, *, width: int, token_width: int | None) -> Contribution:
        """Return their embedding, from the module `add_embedding`.

        Raises:
            InputError: if there are not `count` numbers a sample.
        """
        del token_width
        numbers = cond[self.key]
        if numbers.shape[-1] != self.count:
            raise InputError(
                f"U-Net: conditioning has {numbers.shape[-1]} added_time_ids a sample, but the "
                f"network takes {self.count}"
            )
        waves = sinusoid(rearrange(numbers, "b k -> (b k)"), self.sinusoid_width)
        waves = rearrange(waves, "(b k) d -> b (k d)", k=self.count)
        return Contribution(emb=EmbeddingMLP(width, width, name="add_embedding")(waves))
