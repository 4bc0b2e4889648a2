"""Encoder and decoder of `vldm_jax.models.autoencoder`: levels of residual blocks.

Sub-modules are lists made in `setup`, which Linen names `resnets_0`, `resnets_1`, ...: diffusers'
names. The decoder's last convolution is a step of its own, because the adversarial loss weighs
itself by the gradient of that layer.
"""

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


class Level(nn.Module):
    """Residual blocks at one resolution, then a change of resolution or none.

    Attributes:
        width: output channels.
        blocks: residual blocks.
        groups: norm groups.
        resample: "down", "up" or "none".
        dtype: compute dtype.
    """

    width: int
    blocks: int
    groups: int
    resample: str
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        """Make the blocks."""
        self.resnets = [
            ResBlock(self.width, self.groups, EPS, dtype=self.dtype) for _ in range(self.blocks)
        ]
        if self.resample == "down":
            self.downsamplers = [Downsample(asymmetric=True, dtype=self.dtype)]
        elif self.resample == "up":
            self.upsamplers = [Upsample(dtype=self.dtype)]

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c2"]:
        """Return the features for the next level."""
        for resnet in self.resnets:
            x = resnet(x, train=False)
        if self.resample == "down":
            return self.downsamplers[0](x)
        return self.upsamplers[0](x) if self.resample == "up" else x


class Middle(nn.Module):
    """Residual block, single-head self-attention over all pixels, residual block.

    Attributes:
        width: channels.
        groups: norm groups.
        dtype: compute dtype.
    """

    width: int
    groups: int
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        """Make the blocks."""
        self.resnets = [ResBlock(self.width, self.groups, EPS, dtype=self.dtype) for _ in range(2)]
        self.attentions = [ImageAttention(heads=1, groups=self.groups, eps=EPS, dtype=self.dtype)]

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Return features of the same shape."""
        x = self.attentions[0](self.resnets[0](x, train=False))
        return self.resnets[1](x, train=False)


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

    def setup(self) -> None:
        """Make the levels; all but the last double."""
        last = len(self.widths) - 1
        self.conv_in = Conv(self.widths[0], dtype=self.dtype)
        self.mid_block = Middle(self.widths[0], self.groups, self.dtype)
        self.up_blocks = [
            Level(w, self.blocks, self.groups, "none" if i == last else "up", self.dtype)
            for i, w in enumerate(self.widths)
        ]
        self.conv_norm_out = GroupNorm(self.groups, EPS, self.dtype)
        self.conv_out = Conv(self.out_channels, dtype=self.dtype)

    def features(self, z: Float[Array, "b h w d"]) -> Float[Array, "b H W e"]:
        """Return the activations that `conv_out` makes the image of."""
        x = self.mid_block(self.conv_in(z))
        for block in self.up_blocks:
            x = block(x)
        return nn.silu(self.conv_norm_out(x))

    def __call__(self, z: Float[Array, "b h w d"]) -> Float[Array, "b H W c"]:
        """Return the image."""
        return self.conv_out(self.features(z))
