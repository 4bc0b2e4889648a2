"""Encoder and decoder of `vldm_jax.models.autoencoder`: levels of residual blocks.

Sub-modules are lists made in `setup`, which Linen names `resnets_0`, `resnets_1`, ...: diffusers'
names. The decoder's last convolution is a step of its own, because the adversarial loss weighs
itself by the gradient of that layer.

Everything sees images. In a video decoder (`video_decoder`) these are the frames of videos, folded
into the batch, and `make_temporal` puts a temporal block behind each residual block; it adds
parameters under `temporal_resnets_i` and moves no others.
"""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from vldm_jax.nn.attention import ImageAttention
from vldm_jax.nn.conv import Conv
from vldm_jax.nn.norm import GroupNorm
from vldm_jax.nn.resampling import Downsample, Upsample
from vldm_jax.nn.resnet import ResBlock
from vldm_jax.typing import Array, DTypeLike, Float

# The U-Net has 1e-5, latent-diffusion's autoencoder 1e-6.
EPS = 1e-6


def residual(
    module: nn.Module, index: int, x: Float[Array, "bt h w c"], frames: int
) -> Float[Array, "bt h w c2"]:
    """Apply residual block `index` of the calling module, and its temporal one if it has those."""
    x = module.resnets[index](x, train=False)
    if module.make_temporal is None:
        return x
    return module.temporal_resnets[index](x, frames=frames, train=False)


class Level(nn.Module):
    """Residual blocks at one resolution, then a change of resolution or none.

    Attributes:
        width: output channels.
        blocks: residual blocks.
        groups: norm groups.
        resample: "down", "up" or "none".
        dtype: compute dtype.
        make_temporal: makes the layer after each residual block; None where frames stay apart.
    """

    width: int
    blocks: int
    groups: int
    resample: str
    dtype: DTypeLike = jnp.float32
    make_temporal: Callable[..., nn.Module] | None = None

    def setup(self) -> None:
        """Make the blocks."""
        self.resnets = [
            ResBlock(self.width, self.groups, EPS, dtype=self.dtype) for _ in range(self.blocks)
        ]
        if self.make_temporal is not None:
            self.temporal_resnets = [
                self.make_temporal(self.groups, dtype=self.dtype) for _ in range(self.blocks)
            ]
        if self.resample == "down":
            self.downsamplers = [Downsample(asymmetric=True, dtype=self.dtype)]
        elif self.resample == "up":
            self.upsamplers = [Upsample(dtype=self.dtype)]

    def __call__(self, x: Float[Array, "bt h w c"], frames: int = 1) -> Float[Array, "bt h2 w2 c2"]:
        """Return the features for the next level."""
        for i in range(self.blocks):
            x = residual(self, i, x, frames)
        if self.resample == "down":
            return self.downsamplers[0](x)
        return self.upsamplers[0](x) if self.resample == "up" else x


class Middle(nn.Module):
    """Residual block, single-head self-attention over all pixels, residual block.

    Attributes:
        width: channels.
        groups: norm groups.
        dtype: compute dtype.
        make_temporal: as in `Level`.
    """

    width: int
    groups: int
    dtype: DTypeLike = jnp.float32
    make_temporal: Callable[..., nn.Module] | None = None

    def setup(self) -> None:
        """Make the blocks."""
        self.resnets = [ResBlock(self.width, self.groups, EPS, dtype=self.dtype) for _ in range(2)]
        self.attentions = [ImageAttention(heads=1, groups=self.groups, eps=EPS, dtype=self.dtype)]
        if self.make_temporal is not None:
            self.temporal_resnets = [
                self.make_temporal(self.groups, dtype=self.dtype) for _ in range(2)
            ]

    def __call__(self, x: Float[Array, "bt h w c"], frames: int = 1) -> Float[Array, "bt h w c"]:
        """Return features of the same shape."""
        x = self.attentions[0](residual(self, 0, x, frames))
        return residual(self, 1, x, frames)


class Encoder(nn.Module):
    """Image to moments of the latent, before the 1x1 convolution.

    Attributes:
        widths: channels of each level, finest first.
        blocks: residual blocks a level.
        groups: norm groups.
        out_channels: channels of the result.
        dtype: compute dtype.
    """

    widths: tuple[int, ...]
    blocks: int
    groups: int
    out_channels: int
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        """Make the levels; all but the last halve."""
        last = len(self.widths) - 1
        self.conv_in = Conv(self.widths[0], dtype=self.dtype)
        self.down_blocks = [
            Level(w, self.blocks, self.groups, "none" if i == last else "down", self.dtype)
            for i, w in enumerate(self.widths)
        ]
        self.mid_block = Middle(self.widths[-1], self.groups, self.dtype)
        self.conv_norm_out = GroupNorm(self.groups, EPS, self.dtype)
        self.conv_out = Conv(self.out_channels, dtype=self.dtype)

    def __call__(self, x: Float[Array, "b H W c"]) -> Float[Array, "b h w d"]:
        """Return features at the resolution of the latent."""
        x = self.conv_in(x)
        for block in self.down_blocks:
            x = block(x)
        return self.conv_out(nn.silu(self.conv_norm_out(self.mid_block(x))))


class Decoder(nn.Module):
    """Latent, after the 1x1 convolution, to image.

    Attributes:
        widths: channels of each level, coarsest first.
        blocks: residual blocks a level, by custom one more than the encoder's.
        groups: norm groups.
        out_channels: channels of the image.
        dtype: compute dtype.
    """

    widths: tuple[int, ...]
    blocks: int
    groups: int
    out_channels: int
    dtype: DTypeLike = jnp.float32

    @property
    def make_temporal(self) -> Callable[..., nn.Module] | None:
        """What makes the layer after each residual block, as in `Level`."""
        return None

    def setup(self) -> None:
        """Make the levels; all but the last double."""
        last = len(self.widths) - 1
        self.conv_in = Conv(self.widths[0], dtype=self.dtype)
        self.mid_block = Middle(self.widths[0], self.groups, self.dtype, self.make_temporal)
        self.up_blocks = [
            Level(
                width,
                self.blocks,
                self.groups,
                "none" if i == last else "up",
                self.dtype,
                self.make_temporal,
            )
            for i, width in enumerate(self.widths)
        ]
        self.conv_norm_out = GroupNorm(self.groups, EPS, self.dtype)
        self.conv_out = Conv(self.out_channels, dtype=self.dtype)

    def features(self, z: Float[Array, "bt h w d"], frames: int = 1) -> Float[Array, "bt H W e"]:
        """Return the activations that `project` makes the images of.

        Args:
            z: latents; `frames` consecutive ones are a video.
            frames: only temporal layers look at it.
        """
        x = self.mid_block(self.conv_in(z), frames)
        for block in self.up_blocks:
            x = block(x, frames)
        return nn.silu(self.conv_norm_out(x))

    def project(
        self, features: Float[Array, "bt H W e"], frames: int = 1
    ) -> Float[Array, "bt H W c"]:
        """Return the images of `features`: the last convolution alone."""
        del frames
        return self.conv_out(features)
