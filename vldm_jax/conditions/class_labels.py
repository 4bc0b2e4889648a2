"""A class of each sample, such as the noise level of an upscaler's low-resolution image."""

import dataclasses
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from vldm_jax.conditions.base import Condition, Contribution
from vldm_jax.typing import Conditioning


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassLabels(Condition):
    """Class (b) in [0, num_classes), embedded and added to the time; it knows no null.

    Attributes:
        num_classes: number of classes.
    """

    num_classes: int
    key: ClassVar[str] = "class_labels"
    field: ClassVar[str] = "num_classes"
    meaning: ClassVar[str] = "noise level of the low-resolution image"

    def example(self) -> jax.ShapeDtypeStruct:
        """Return one class."""
        return jax.ShapeDtypeStruct((1,), jnp.int32)

    def embed(self, cond: Conditioning, *, width: int, token_width: int | None) -> Contribution:
        """Return the class's embedding, from the module `class_embedding`."""
        del token_width
        embed = nn.Embed(self.num_classes, width, name="class_embedding")
        return Contribution(emb=embed(cond[self.key]))
