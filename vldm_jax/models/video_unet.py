"""The video U-Net: an image U-Net whose every layer is followed by a temporal one.

Spatial layers see (b t) h w c and are the image U-Net's, code and parameter paths alike; temporal
layers live under names with `temporal` in them. There are two families: Video LDM's, which Stable
Video Diffusion shares (`nn.temporal`), and AnimateDiff's (`nn.motion`). With frozen spatial layers,
what is trained is exactly that group, and it moves between backbones of the same shape.

Source: Align your Latents, arXiv:2304.08818, Sec. 3.1; AnimateDiff, arXiv:2307.04725.
"""

import jax.numpy as jnp
from einops import rearrange, repeat

from vldm_jax.core.conditioning import Conditioning
from vldm_jax.core.errors import InputError
from vldm_jax.models.unet import UNetSkeleton
from vldm_jax.models.unet_blocks import TemporalLayers
from vldm_jax.nn.temporal import TemporalSpec
from vldm_jax.typing import Array, Float, Shaped


class VideoUNet(UNetSkeleton):
    """Denoising network for videos; fields as in `UNetSkeleton`.

    Attributes:
        temporal: family and hyper-parameters of the temporal layers.
    """

    temporal: TemporalLayers = TemporalSpec()

    def __call__(
        self,
        z: Float[Array, "b t h w c"],
        time: Shaped[Array, " b"],
        cond: Conditioning,
        *,
        train: bool,
    ) -> Float[Array, "b t h w c2"]:
        """Return the prediction for noisy latents, float32.

        Args:
            z: scaled noisy latents; all frames of a video share its time.
            time: discrete diffusion steps in [0, 1000), fractions allowed.
            cond: conditioning; `concat` is a video, or an image that every frame gets.
            train: whether dropout is on.

        Raises:
            InputError: if `cond`, the fields or the number of frames don't fit.
        """
        batch, frames = z.shape[:2]
        if cond.context_temporal is not None and self.context_dim is None:
            raise InputError(
                "video U-Net: conditioning has context_temporal, but the network has no context_dim"
            )
        images = rearrange(z, "b t h w c -> (b t) h w c")
        if cond.concat is not None:
            images = jnp.concatenate([images, self._per_frame(cond.concat, frames)], axis=-1)
        out = self.denoise(images, time, cond, frames=frames, temporal=self.temporal, train=train)
        return rearrange(out, "(b t) h w c -> b t h w c", b=batch)

    def _per_frame(self, concat, frames):
        if concat.ndim == 4:
            return repeat(concat, "b h w c -> (b t) h w c", t=frames)
        return rearrange(concat, "b t h w c -> (b t) h w c")
