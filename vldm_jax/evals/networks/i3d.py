"""I3D: the Inception network with its kernels inflated along time, trained on Kinetics-400 (RGB).

The logits of this network are the features of FVD (arXiv:1812.01717). Padding is TensorFlow's
SAME, which depends on the input's size: a layer of stride s makes ceil(n / s) of n, and of an odd
number of zeros the extra one comes last. Batch norm is folded into the convolutions by
`vldm_jax.evals.networks.i3d_weights`, which reads the published weights.

XLA's convolution and pooling over three axes are slow on CPU: with them the network takes 3 to 4
times as long. So a convolution here is one over space whose input channels are those of all frames
under the kernel, and a maximum is taken over one axis after another, which gives the same.
"""

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange
from jax import lax

from vldm_jax.core.errors import InputError
from vldm_jax.typing import Array, DTypeLike, Float

NUM_CLASSES = 400
# Four strides over time halve 9 frames to 2, five over space 193 pixels to 7: the window of the
# average at the end.
SMALLEST = (9, 193, 193)
LAST_WINDOW = (2, 7, 7)

# Features of the branches (1x1; 1x1 then 3x3; 1x1 then 3x3; pool then 1x1), as Sec. 2.4 inflates
# those of Inception-v1, and the pool (window, strides) in front.
MIXED: dict[str, tuple[int, int, int, int, int, int]] = {
    "3b": (64, 96, 128, 16, 32, 32),
    "3c": (128, 128, 192, 32, 96, 64),
    "4b": (192, 96, 208, 16, 48, 64),
    "4c": (160, 112, 224, 24, 64, 64),
    "4d": (128, 128, 256, 24, 64, 64),
    "4e": (112, 144, 288, 32, 64, 64),
    "4f": (256, 160, 320, 32, 128, 128),
    "5b": (256, 160, 320, 32, 128, 128),
    "5c": (384, 192, 384, 48, 128, 128),
}
POOL_BEFORE = {
    "3b": ((1, 3, 3), (1, 2, 2)),
    "4b": ((3, 3, 3), (2, 2, 2)),
    "5b": ((2, 2, 2), (2, 2, 2)),
}


class Unit(nn.Module):
    """Convolve with a cubic kernel, with a bias, then a ReLU.

    Attributes:
        features: output channels.
        size: of the kernel on all three axes.
        stride: on all three axes.
        dtype: compute dtype.
    """

    features: int
    size: int = 1
    stride: int = 1
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b t h w c"]) -> Float[Array, "b t2 h2 w2 c2"]:
        """Return the activations, padded as SAME."""
        shape = (self.size, self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        kernel, bias = (jnp.asarray(p, self.dtype) for p in (kernel, bias))
        x = x.astype(self.dtype)
        if self.size == 1:
            x = jnp.einsum("bthwi,io->bthwo", x, kernel[0, 0, 0])
        else:
            x = _convolve(x, kernel, self.stride)
        return nn.relu(x + bias[None, None, None, None])


class Mixed(nn.Module):
    """Four branches side by side, concatenated on channels.

    Attributes:
        features: a row of `MIXED`.
        dtype: compute dtype.
    """

    features: tuple[int, int, int, int, int, int]
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b t h w c"]) -> Float[Array, "b t h w c2"]:
        """Return the branches' channels in order."""
        one, reduce_1, conv_1, reduce_2, conv_2, pooled = self.features

        def unit(features, size, name):
            return Unit(features, size, dtype=self.dtype, name=name)

        branches = (
            unit(one, 1, "branch_0")(x),
            unit(conv_1, 3, "branch_1")(unit(reduce_1, 1, "branch_1_reduce")(x)),
            unit(conv_2, 3, "branch_2")(unit(reduce_2, 1, "branch_2_reduce")(x)),
            unit(pooled, 1, "branch_3")(_max_pool(x, (3, 3, 3), (1, 1, 1))),
        )
        return jnp.concatenate(branches, axis=-1)


class I3D(nn.Module):
    """Inflated 3D ConvNet on RGB clips.

    Attributes:
        dtype: compute dtype; the last average and the logits are float32.
    """

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b t h w 3"]) -> Float[Array, "b 400"]:
        """Return the logits of Kinetics' 400 classes, averaged over time.

        The network was trained on 224x224, and FVD resizes to that. From 225 pixels on there are
        several windows in space, too, whose logits are averaged like those in time.

        Args:
            x: (b t h w 3) in [-1, 1], at least 9 frames of 193x193.

        Raises:
            InputError: if the clips are smaller.

        Source: Carreira and Zisserman, arXiv:1705.07750, Fig. 3.
        """
        if any(n < least for n, least in zip(x.shape[1:4], SMALLEST, strict=True)):
            t, h, w = x.shape[1:4]
            raise InputError(
                f"clips of {t} frames of {h}x{w} are too small for I3D: give at least "
                "9 frames of 193x193 (it was trained on 224x224)"
            )
        x = Unit(64, 7, stride=2, dtype=self.dtype, name="conv_1a")(x)
        x = _max_pool(x, (1, 3, 3), (1, 2, 2))
        x = Unit(64, dtype=self.dtype, name="conv_2b")(x)
        x = Unit(192, 3, dtype=self.dtype, name="conv_2c")(x)
        for name, features in MIXED.items():
            if name in POOL_BEFORE:
                x = _max_pool(x, *POOL_BEFORE[name])
            x = Mixed(features, dtype=self.dtype, name=f"mixed_{name}")(x)
        # The last layer is linear: the average of the logits is the logits of the average.
        x = nn.avg_pool(x.astype(jnp.float32), LAST_WINDOW).mean((1, 2, 3))
        return nn.Dense(NUM_CLASSES, name="logits")(x)


def _convolve(x: Array, kernel: Array, stride: int) -> Array:
    """Return the convolution over t, h and w as one over space."""
    size, frames = kernel.shape[0], -(-x.shape[1] // stride)
    missing = max((frames - 1) * stride + size - x.shape[1], 0)
    before = missing // 2
    x = jnp.pad(x, ((0, 0), (before, missing - before), (0, 0), (0, 0), (0, 0)))
    last = stride * (frames - 1) + 1
    x = jnp.concatenate([x[:, k : k + last : stride] for k in range(size)], axis=-1)
    y = lax.conv_general_dilated(
        rearrange(x, "b t h w c -> (b t) h w c"),
        rearrange(kernel, "kt kh kw i o -> kh kw (kt i) o"),
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return rearrange(y, "(b t) h w c -> b t h w c", t=frames)


def _max_pool(x: Array, window: tuple[int, int, int], strides: tuple[int, int, int]) -> Array:
    """Return the maximum over windows of (t, h, w), one axis after another."""
    for axis, (size, stride) in enumerate(zip(window, strides, strict=True)):
        along = tuple(size if a == axis else 1 for a in range(3))
        steps = tuple(stride if a == axis else 1 for a in range(3))
        x = nn.max_pool(x, along, steps, "SAME") if size > 1 else x
    return x
