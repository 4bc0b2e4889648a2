"""The temporal decoder of Video LDM and SVD: the image decoder with temporal layers put in.

    x = resnets_i(x);   x = temporal_resnets_i(x)         after every residual block of the decoder
    video = temporal_conv_out(conv_out(features))         3 frames x 1 x 1, over colours

Latents of a video are decoded together, so that what the image decoder makes of each frame alone no
longer flickers. Only what is here has `temporal` in its path; the image decoder's code and paths
are `autoencoder_blocks`. Freshly inserted, the layers return their input and `temporal_conv_out`
copies each frame: the video decoder then is the image decoder, frame by frame.

Source: Align your Latents, arXiv:2304.08818, Sec. 3.1.1; inner parts as in Stable Video Diffusion,
arXiv:2311.15127 (diffusers `AutoencoderKLTemporalDecoder`), whose `mix_factor` is our -logit.
Deviation: identity at the start (the authors' code perturbs the image decoder at step 0).
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange

from vldm_jax.models.autoencoder_blocks import Decoder
from vldm_jax.nn.frames import FrameSplit
from vldm_jax.nn.mixer import Mixer
from vldm_jax.nn.temporal import TemporalConv, TemporalResBlock
from vldm_jax.typing import Array, DTypeLike, Float, Key


def copy_frames(
    key: Key, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32
) -> Float[Array, "3 c c2"]:
    """Return the temporal kernel (3, c, c) whose convolution returns its input."""
    del key
    return jnp.zeros(shape, dtype).at[1].set(jnp.eye(*shape[1:], dtype=dtype))


class VideoDecoder(Decoder):
    """Latents of videos, after the 1x1 convolution if there is one, to videos.

    Frames are folded into the batch.

    Attributes:
        split: how frames lie on devices; None where all are here. Other fields as in `Decoder`.
    """

    split: FrameSplit | None = None

    @property
    def make_temporal(self) -> Callable[..., nn.Module] | None:
        """What makes the layer after each residual block."""
        return functools.partial(TemporalResBlock, Mixer, split=self.split)

    def setup(self) -> None:
        """Add the last temporal layer to the image decoder's."""
        super().setup()
        self.temporal_conv_out = TemporalConv(
            self.out_channels, copy_frames, dtype=self.dtype, split=self.split
        )  # fmt: skip

    def project(
        self, features: Float[Array, "bt H W e"], frames: int = 1
    ) -> Float[Array, "bt H W c"]:
        """Return the frames of `features`."""
        video = rearrange(self.conv_out(features), "(b t) h w c -> b t h w c", t=frames)
        return rearrange(self.temporal_conv_out(video), "b t h w c -> (b t) h w c")
