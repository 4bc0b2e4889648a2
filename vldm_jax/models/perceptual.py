"""LPIPS: a distance between images in the feature space of a classifier.

With f_l the l-th feature map of a frozen network, normalised to unit length over channels, and w_l
non-negative weights per channel that were fitted to human judgements,

    d(x, y) = sum_l mean_hw sum_c w_lc (f_l(x) - f_l(y))_hwc^2            (arXiv:1801.03924, eq. 1)

Two backbones, as tables: VGG16 (the loss of latent diffusion's autoencoders) and AlexNet (six times
lighter, for small machines). The parameters are never trained here; where they come from is
`vldm_jax.models.perceptual_weights`.
"""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from vldm_jax.core.errors import InputError
from vldm_jax.typing import Array, DTypeLike, Float

# ImageNet's mean and deviation, for an image in [-1, 1].
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)


class _Conv(NamedTuple):
    features: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1


class Stage(NamedTuple):
    """Max-pool of window `pool` and stride 2 (0: none), then convolutions, each with a ReLU."""

    pool: int
    convs: tuple[_Conv, ...]


# One feature map a stage: relu1_2, relu2_2, relu3_3, relu4_3, relu5_3 and relu1 ... relu5.
BACKBONES: dict[str, tuple[Stage, ...]] = {
    "vgg16": (
        Stage(0, (_Conv(64),) * 2),
        Stage(2, (_Conv(128),) * 2),
        Stage(2, (_Conv(256),) * 3),
        Stage(2, (_Conv(512),) * 3),
        Stage(2, (_Conv(512),) * 3),
    ),
    "alexnet": (
        Stage(0, (_Conv(64, kernel=11, stride=4, padding=2),)),
        Stage(3, (_Conv(192, kernel=5, padding=2),)),
        Stage(3, (_Conv(384),)),
        Stage(0, (_Conv(256),)),
        Stage(0, (_Conv(256),)),
    ),
}


class Features(nn.Module):
    """Feature maps of the stages of a backbone.

    Attributes:
        stages: a row of `BACKBONES`.
        dtype: compute dtype.
    """

    stages: tuple[Stage, ...]
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"]) -> tuple[Float[Array, "b _h _w _c"], ...]:
        """Return one map a stage; x: (b h w 3) in [-1, 1]."""
        x = (x - jnp.asarray(SHIFT).reshape(1, 1, 1, 3)) / jnp.asarray(SCALE).reshape(1, 1, 1, 3)
        maps, index = [], 0
        for stage in self.stages:
            if stage.pool:
                x = nn.max_pool(x, (stage.pool, stage.pool), strides=(2, 2))
            for conv in stage.convs:
                x = nn.Conv(
                    conv.features,
                    (conv.kernel, conv.kernel),
                    strides=conv.stride,
                    padding=conv.padding,
                    dtype=self.dtype,
                    name=f"conv_{index}",
                )(x)
                x = nn.relu(x)
                index += 1
            maps.append(x)
        return tuple(maps)


class LPIPS(nn.Module):
    """Learned perceptual distance of two batches of images.

    Attributes:
        net: "vgg16" or "alexnet".
        dtype: compute dtype of the backbone; the distance itself is float32.
    """

    net: str = "vgg16"
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w 3"], y: Float[Array, "b h w 3"]
    ) -> Float[Array, " b"]:
        """Return the distance, 0 for equal images, typically below 1.

        The backbone runs once per argument, not on the pair as one batch: differentiating with
        respect to one of them then costs nothing for the other.

        Args:
            x: (b h w 3) in [-1, 1].
            y: (b h w 3) in [-1, 1].

        Raises:
            InputError: if `net` is unknown or the images are smaller than its receptive strides.

        Source: arXiv:1801.03924, eq. 1.
        """
        if self.net not in BACKBONES:
            raise InputError(
                f"perceptual network {self.net!r} is unknown: use one of {sorted(BACKBONES)}"
            )
        features = Features(BACKBONES[self.net], dtype=self.dtype, name="features")
        distance = jnp.zeros(x.shape[:1], jnp.float32)
        for index, (fx, fy) in enumerate(zip(features(x), features(y), strict=True)):
            if 0 in fx.shape:
                raise InputError(
                    f"images of {x.shape[1]}x{x.shape[2]} are too small for the {self.net} "
                    "perceptual loss: use larger images or perceptual_weight=0"
                )
            head = self.param(f"head_{index}", nn.initializers.ones, fx.shape[-1:], jnp.float32)
            difference = jnp.square(_unit(fx) - _unit(fy))
            distance += jnp.einsum("bhwc,c->b", difference, head) / (fx.shape[1] * fx.shape[2])
        return distance


def _unit(x: Array) -> Array:
    """Divide by the length over channels, with a finite gradient where that is zero."""
    x = x.astype(jnp.float32)
    square = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
    length = jnp.sqrt(jnp.where(square > 0, square, 1.0))
    return x / jnp.where(square > 0, length + 1e-10, 1.0)
