"""Context frames: clean latents of some frames of the clip, and which frames these are.

    c_S = (m_S * z, m_S),    m_S in {0, 1}^t, 1 at the frames that are given                    (1)

Latents and mask are one value (b t h w c+1). It enters temporal layers alone: halved to each level
of the network by a learned pyramid (`models.unet`), and added to the first temporal convolution of
every temporal residual block by a kernel of its own (`nn.temporal`). Nothing on the way has a bias,
so no frame given (S = 0) is exactly the network that is told nothing; leaving the key out is the
same and costs nothing.

S = 1 and 2 first frames is prediction, first and last frame is interpolation. Which frames are
given is drawn by the stage, S = 0 among them: dropping at random would count that twice.

Source: Align your Latents, arXiv:2304.08818, Sec. 3.2, Eq. 3.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from vldm_jax.conditions.base import Condition, Contribution
from vldm_jax.core.errors import InputError
from vldm_jax.core.shapes import expand_like
from vldm_jax.typing import Array, Bool, Conditioning, Float, Key


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContextFrames(Condition):
    """Frames that are given (b t h w c+1), see equation (1).

    Attributes:
        channels: c, of the latents.
    """

    channels: int
    key: ClassVar[str] = "context_frames"
    meaning: ClassVar[str] = "clean latents of given frames, 0 at others; last channel: 1 if given"
    required: ClassVar[bool] = False
    of_clip: ClassVar[bool] = True

    def example(self) -> jax.ShapeDtypeStruct:
        """Return one frame of one pixel."""
        return self.example_for((1, 1, 1, 1, self.channels))

    def example_for(self, latent: tuple[int, ...]) -> jax.ShapeDtypeStruct:
        """Return as many frames and pixels as the latents have."""
        return jax.ShapeDtypeStruct((*latent[:-1], self.channels + 1), jnp.float32)

    def null(self, value: Float[Array, "b t h w c"], given: Mapping[str, Any]) -> Array:
        """Return what no frame given is: zeros."""
        del given
        return jnp.zeros_like(value)

    def drop(
        self,
        value: Float[Array, "b t h w c"],
        key: Key,
        p: float | int,
        given: Mapping[str, Any],
    ) -> Array:
        """Return the value: how often no frame is given is the stage's to say."""
        del key, p, given
        return value

    def embed(self, cond: Conditioning, *, width: int, token_width: int | None) -> Contribution:
        """Return the value as maps for temporal convolutions.

        Raises:
            InputError: if it has other channels.
        """
        del width, token_width
        value = cond[self.key]
        if value.ndim != 5 or value.shape[-1] != self.channels + 1:
            raise InputError(
                f"U-Net: context_frames must be b t h w {self.channels + 1} (latents, mask), got "
                f"{value.shape}"
            )
        return Contribution(maps=value)


def context_of(
    z: Float[Array, "b t h w c"], given: Bool[Array, "b t"]
) -> Float[Array, "b t h w c2"]:
    """Return the value of `ContextFrames`, equation (1).

    Args:
        z: scaled latents; those of frames that are not given are not looked at.
        given: which frames are.
    """
    mask = expand_like(given, z)
    # Not a product: what is not given may be anything, also not finite.
    known = jnp.where(mask, z, 0.0)
    one = jnp.broadcast_to(mask[..., :1], (*z.shape[:-1], 1))
    return jnp.concatenate([known, one.astype(z.dtype)], axis=-1)
