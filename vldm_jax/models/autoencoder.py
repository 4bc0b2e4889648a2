"""The KL autoencoder of Stable Diffusion ("kl-f8", "kl-f4"): images <-> a small Gaussian latent.

    encode(x) -> (mean, logvar);  z_raw = mean + exp(logvar / 2) n;  z = latent_scale * z_raw
    decode(z_raw) -> x

A convolutional encoder halves the image len(mult) - 1 times (f = 2^(len(mult) - 1)), a mirrored
decoder with one residual block more a level doubles it again; one single-head self-attention sits
at the lowest resolution of each; two 1x1 convolutions stand around the latent. Everything works on
single images, and a video is folded into the batch by the caller; but a temporal decoder
(`video_decoder`) decodes the latents of a video together, b t h w d. Names of parameters are
diffusers' `AutoencoderKL` with `_i` for `.i`.

| row of `SIZES` | latent | parameters |
|---|---|---|
| sd_f8: SD 1.x, 2.x, and the driving model of the paper | h/8 w/8 4 | 83,653,863 |
| upscaler_f4: SD x4 upscaler | h/4 w/4 4 | 55,325,927 |
| svd_f8: Stable Video Diffusion, temporal decoder | h/8 w/8 4 | 97,742,847 |

Source: arXiv:2112.10752 App. E; latent-diffusion configs kl-f8, kl-f4; diffusers `AutoencoderKL`;
`AutoencoderKLTemporalDecoder`.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import pack, unpack

from vldm_jax.core.errors import InputError
from vldm_jax.core.fields import COUNT, FLAG, NATURAL, POSITIVE, check_fields, several
from vldm_jax.models.autoencoder_blocks import Decoder, Encoder
from vldm_jax.models.video_decoder import VideoDecoder
from vldm_jax.nn.conv import Conv
from vldm_jax.nn.frames import FrameSplit
from vldm_jax.typing import Array, DTypeLike, Float

LOGVAR_RANGE = (-30.0, 20.0)

SIZES = {
    "sd_f8": {"base": 128, "mult": (1, 2, 4, 4), "blocks": 2, "latent_scale": 0.18215},
    "upscaler_f4": {"base": 128, "mult": (1, 2, 4), "blocks": 2, "latent_scale": 0.08333},
    "svd_f8": {
        "base": 128,
        "mult": (1, 2, 4, 4),
        "blocks": 2,
        "latent_scale": 0.18215,
        "temporal_decoder": True,
        "post_quant_conv": False,
    },
}


RULES = {
    "base": COUNT,
    "mult": several(COUNT),
    "blocks": NATURAL,
    "latent_channels": COUNT,
    "norm_groups": COUNT,
    "latent_scale": POSITIVE,
    "in_channels": COUNT,
    "temporal_decoder": FLAG,
    "post_quant_conv": FLAG,
}


class Autoencoder(nn.Module):
    """Autoencoder with a diagonal Gaussian posterior.

    Attributes:
        base: channels of the first level.
        mult: channels of each level, in units of `base`; its length fixes the factor f.
        blocks: residual blocks a level in the encoder; the decoder has one more.
        latent_channels: channels of the latent.
        norm_groups: groups of every GroupNorm; divides every level's channels.
        latent_scale: z = latent_scale * z_raw has about unit variance. Only kept here, not applied:
            `encode` and `decode` speak of raw latents.
        in_channels: channels of the image.
        temporal_decoder: whether the frames of a video are decoded together; `decode` and
            reconstruction then take videos, `encode` images as ever.
        post_quant_conv: whether there is a 1x1 convolution between latent and decoder.
        dtype: compute dtype; parameters and results are float32.
        split: how the frames of a video that is decoded lie on devices; None where all are here.
            It is how the network is run, and no weights file knows it.
    """

    base: int = 128
    mult: tuple[int, ...] = (1, 2, 4, 4)
    blocks: int = 2
    latent_channels: int = 4
    norm_groups: int = 32
    latent_scale: float = 0.18215
    in_channels: int = 3
    temporal_decoder: bool = False
    post_quant_conv: bool = True
    dtype: DTypeLike = jnp.float32
    split: FrameSplit | None = None

    def __post_init__(self) -> None:
        """Look at each field by itself.

        Raises:
            InputError: naming one that no autoencoder has.
        """
        check_fields("autoencoder", self, RULES)
        super().__post_init__()

    def setup(self) -> None:
        """Make the two networks and the convolutions around the latent."""
        widths = tuple(self.base * m for m in self.mult)
        if any(width % self.norm_groups for width in widths):
            raise InputError(
                f"autoencoder: norm_groups={self.norm_groups} must divide the channels {widths}"
            )
        moments, dtype = 2 * self.latent_channels, self.dtype
        self.encoder = Encoder(widths, self.blocks, self.norm_groups, moments, dtype)
        video = functools.partial(VideoDecoder, split=self.split)
        make_decoder = video if self.temporal_decoder else Decoder
        self.decoder = make_decoder(
            widths[::-1], self.blocks + 1, self.norm_groups, self.in_channels, dtype
        )
        self.quant_conv = Conv(moments, (1, 1), dtype=dtype)
        if self.post_quant_conv:
            # The field has the name of the parameters, so the attribute has another.
            self.conv_z = Conv(self.latent_channels, (1, 1), dtype=dtype, name="post_quant_conv")

    @property
    def factor(self) -> int:
        """Pixels a latent spans in height and in width."""
        return 2 ** (len(self.mult) - 1)

    def example_inputs(self, latent: tuple[int, ...]) -> tuple[Any, ...]:
        """Return the shape of what `latent`, (1 [t] h w c), is the latent of."""
        *leading, height, width, _ = latent
        pixels = (*leading, self.factor * height, self.factor * width, self.in_channels)
        return (jax.ShapeDtypeStruct(pixels, jnp.float32),)

    def smallest_inputs(self, channels: int) -> tuple[Any, ...]:
        """Return the shape of the smallest input; parameters need no more. It has `in_channels`."""
        del channels
        frames = (1,) if self.temporal_decoder else ()
        return self.example_inputs((1, *frames, 1, 1, self.latent_channels))

    def encode(
        self, x: Float[Array, "*b H W c"]
    ) -> tuple[Float[Array, "*b h w d"], Float[Array, "*b h w d"]]:
        """Return mean and log-variance of the posterior of the raw latent, float32.

        Args:
            x: (b H W c) images in [-1, 1], whatever the decoder.

        Raises:
            InputError: if x has another rank, or the factor does not divide height and width.

        Source: arXiv:2112.10752 Sec. 3.1; log-variance clipped as in latent-diffusion.
        """
        if x.ndim != 4:
            raise InputError(f"autoencoder: encode takes images (b H W c), got shape {x.shape}")
        if x.shape[1] % self.factor or x.shape[2] % self.factor:
            raise InputError(
                f"autoencoder: image of {x.shape[1]}x{x.shape[2]} must be a multiple of "
                f"{self.factor} in height and width"
            )
        moments = self.quant_conv(self.encoder(x)).astype(jnp.float32)
        mean, logvar = jnp.split(moments, 2, axis=-1)
        return mean, jnp.clip(logvar, *LOGVAR_RANGE)

    def decode(self, z_raw: Float[Array, "*b h w d"]) -> Float[Array, "*b H W c"]:
        """Return the image of a raw latent, about [-1, 1] and not clipped, float32.

        Args:
            z_raw: (b h w latent_channels) unscaled latents; (b t h w latent_channels), those of
                videos, for a temporal decoder, which returns (b t H W c).

        Raises:
            InputError: if z_raw has another rank.

        Source: arXiv:2112.10752 Sec. 3.1; temporal decoder arXiv:2304.08818 Sec. 3.1.1.
        """
        return self.project(self.decode_features(z_raw))

    def decode_features(self, z_raw: Float[Array, "*b h w d"]) -> Float[Array, "*b H W e"]:
        """Return the activations before the decoder's last layer; z_raw and errors as `decode`."""
        frames = self._frames(z_raw, "decode")
        z, batch = pack([z_raw.astype(self.dtype)], "* h w d")
        if self.post_quant_conv:
            z = self.conv_z(z)
        return unpack(self.decoder.features(z, frames), batch, "* H W e")[0]

    def project(self, features: Float[Array, "*b H W e"]) -> Float[Array, "*b H W c"]:
        """Return the image of `decode_features`: the decoder's last convolution alone.

        A temporal decoder's convolution over frames, which follows it, is part of it.

        Raises:
            InputError: if the features have another rank than those of `decode_features`.
        """
        frames = self._frames(features, "project")
        flat, batch = pack([features], "* H W e")
        images = self.decoder.project(flat, frames).astype(jnp.float32)
        return unpack(images, batch, "* H W c")[0]

    def __call__(self, x: Float[Array, "*b H W c"]) -> Float[Array, "*b H W c"]:
        """Return the reconstruction from the posterior's mean (initialisation, evaluation).

        Args:
            x: (b H W c) images in [-1, 1]; (b t H W c) videos for a temporal decoder.

        Raises:
            InputError: if x has another rank, or the factor does not divide height and width.
        """
        self._frames(x, "reconstruction")
        images, batch = pack([x], "* H W c")
        return self.decode(unpack(self.encode(images)[0], batch, "* h w d")[0])

    def _frames(self, x, where):
        """Return the number of frames that are decoded together; refuse another rank."""
        axes = ("b", "t", "h", "w", "c") if self.temporal_decoder else ("b", "h", "w", "c")
        if x.ndim != len(axes):
            decoder = "a temporal" if self.temporal_decoder else "an image"
            raise InputError(
                f"autoencoder: {where} with {decoder} decoder takes ({' '.join(axes)}), "
                f"got shape {x.shape}"
            )
        return x.shape[1] if self.temporal_decoder else 1
