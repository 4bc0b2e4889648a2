"""The frame rate of a clip, told to temporal layers that were trained at several.

One interpolation model serves 1.875 -> 7.5 and 7.5 -> 30 fps; which of the two it is asked for is
one embedded label.

Source: Align your Latents, arXiv:2304.08818, Sec. 3.3 ("binary conditioning"); that the label is
added to the embedding of the time is ours.
"""

import dataclasses
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from vldm_jax.conditions.base import Condition, Contribution
from vldm_jax.core.errors import InputError
from vldm_jax.nn.init import zeros
from vldm_jax.typing import Conditioning


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrameRate(Condition):
    """Frames per second (b), one of a few.

    Attributes:
        rates: that the layers know, each another.
    """

    rates: tuple[float | int, ...]
    key: ClassVar[str] = "fps"
    meaning: ClassVar[str] = "frames per second, one of those trained at"
    of_clip: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Look at the rates.

        Raises:
            InputError: if there are fewer than two, or one is none.
        """
        good = isinstance(self.rates, list | tuple) and all(
            type(rate) in (int, float) and 0 < rate < float("inf") for rate in self.rates
        )
        if not good or len(set(self.rates)) < max(2, len(self.rates)):
            raise InputError(
                f"a condition of kind 'frame_rate': rates={self.rates!r} must be at least two "
                "positive numbers, each another, as (7.5, 30.0)"
            )
        object.__setattr__(self, "rates", tuple(map(float, self.rates)))

    def example(self) -> jax.ShapeDtypeStruct:
        """Return the rate of one sample."""
        return jax.ShapeDtypeStruct((1,), jnp.float32)

    def embed(self, cond: Conditioning, *, width: int, token_width: int | None) -> Contribution:
        """Return the embedding of the nearest rate, from `temporal_condition_fps`; 0 when fresh."""
        del token_width
        rates = jnp.log(jnp.asarray(self.rates))
        nearest = jnp.argmin(jnp.abs(jnp.log(cond[self.key])[:, None] - rates[None]), axis=1)
        embed = nn.Embed(
            len(self.rates), width, embedding_init=zeros, name="temporal_condition_fps"
        )
        return Contribution(emb_temporal=embed(nearest))
