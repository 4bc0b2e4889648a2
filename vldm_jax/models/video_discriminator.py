"""The patch discriminator of videos: what a temporal decoder is trained against.

The image discriminator's layers with a third axis: convolutions of 3x4x4 (frames, height, width),
LeakyReLU(0.2), each logit of a patch of a few frames. It sees what no frame shows by itself:
flicker. Of its strided layers most keep all frames: eight frames halved three times would leave
one, made of the zeros beyond the ends.

Source: arXiv:2304.08818, Sec. 3.1.1: "a patch-wise temporal discriminator built from 3D
convolutions"; layers and channels as in TATS, arXiv:2204.03638 (`NLayerDiscriminator3D`).
Deviation: three taps over frames, where TATS has four and pads them by two: the length is kept, and
forth and back in time are alike. GroupNorm where TATS has BatchNorm, see `discriminator`.
"""

from typing import TypeAlias

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange

from vldm_jax.core.errors import InputError
from vldm_jax.core.fields import COUNT, check_fields, several
from vldm_jax.nn.init import zeros
from vldm_jax.nn.norm import GroupNorm
from vldm_jax.nn.products import add_bias, convolve
from vldm_jax.typing import Array, DTypeLike, Float

Strides: TypeAlias = tuple[int, int]  # over frames, over space
RULES = {"base": COUNT, "time_strides": several(COUNT), "norm_groups": COUNT}
TAPS, SIDE = 3, 4  # of every kernel


class VideoConv(nn.Module):
    """Convolve over frames and space with a kernel 3x4x4; `kernel` (3, 4, 4, in, out), `bias`.

    Frames beyond the ends are zeros, and so is one pixel around the picture.

    Attributes:
        features: output channels.
        strides: over frames and over space.
        use_bias: whether a bias is added.
        dtype: compute type.
    """

    features: int
    strides: Strides = (1, 1)
    use_bias: bool = True
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b t h w c"]) -> Float[Array, "b t2 h2 w2 c2"]:
        """Return the convolved video in `dtype`."""
        shape = (TAPS, SIDE, SIDE, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.normal(0.02), shape)
        over_frames, over_space = self.strides
        t, reach = x.shape[1], TAPS // 2
        x = jnp.pad(x.astype(self.dtype), ((0, 0), (reach, reach), (0, 0), (0, 0), (0, 0)))
        # The frames under the kernel's taps are stacked as channels of an image: on CPU XLA's 3-D
        # convolution takes 5 to 120 times as long, forward and both gradients together.
        taps = [x[:, first : first + t : over_frames] for first in range(TAPS)]
        stacked = rearrange(jnp.concatenate(taps, axis=-1), "b t h w c -> (b t) h w c")
        y = convolve(
            stacked, rearrange(kernel, "k kh kw i o -> kh kw (k i) o"),
            stride=over_space, padding=((1, 1), (1, 1)), dtype=self.dtype,
        )  # fmt: skip
        if self.use_bias:
            y = add_bias(y, self.param("bias", zeros, (self.features,)))
        return rearrange(y, "(b t) h w c -> b t h w c", b=x.shape[0])


class VideoDiscriminator(nn.Module):
    """Logits of "real" per patch of a video.

    Attributes:
        base: channels after the first layer, doubled by each layer up to 8 times.
        time_strides: of each layer that halves the picture, its step over frames; two layers that
            halve nothing follow.
        norm_groups: groups of the norms; divides `base`.
        dtype: compute type.
    """

    base: int = 64
    time_strides: tuple[int, ...] = (1, 1, 2)
    norm_groups: int = 32
    dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        """Look at each field by itself.

        Raises:
            InputError: naming one that no discriminator has.
        """
        check_fields("video discriminator", self, RULES)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Float[Array, "b t h w c"]) -> Float[Array, "b _t _h _w 1"]:
        """Return one float32 logit a patch.

        Args:
            x: (b t h w c) videos in [-1, 1].

        Raises:
            InputError: if `norm_groups` does not divide `base`.
        """
        if self.base % self.norm_groups:
            raise InputError(
                f"video discriminator: norm_groups={self.norm_groups} must divide base={self.base}"
            )
        first, *others = [(step, 2) for step in self.time_strides]
        x = nn.leaky_relu(VideoConv(self.base, first, dtype=self.dtype, name="conv_0")(x), 0.2)
        for index, strides in enumerate([*others, (1, 1)], 1):
            width = self.base * min(2**index, 8)
            # As in the original, a layer that a norm follows has the norm's bias only.
            x = VideoConv(width, strides, False, self.dtype, name=f"conv_{index}")(x)
            x = GroupNorm(self.norm_groups, 1e-5, self.dtype, name=f"norm_{index}")(x)
            x = nn.leaky_relu(x, 0.2)
        last = VideoConv(1, dtype=self.dtype, name=f"conv_{len(others) + 2}")
        return last(x).astype(jnp.float32)
