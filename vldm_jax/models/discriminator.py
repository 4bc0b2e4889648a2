"""The patch discriminator of latent diffusion's autoencoder.

A fully convolutional classifier whose logits each see a patch of the image (70x70 pixels for three
strided layers): 4x4 convolutions of strides 2, 2, 2, 1, 1 and LeakyReLU(0.2), after pix2pix and
taming-transformers. It judges single frames; the video discriminator is another network.

Deviation: GroupNorm where the original has BatchNorm. Batch statistics differ between devices, need
a mutable collection in the step and, in a GAN, leak whether the rest of the batch is real.
"""

import flax.linen as nn
import jax.numpy as jnp

from vldm_jax.core.errors import InputError
from vldm_jax.core.fields import COUNT, check_fields
from vldm_jax.nn.conv import Conv
from vldm_jax.typing import Array, DTypeLike, Float

RULES = {"base": COUNT, "layers": COUNT, "norm_groups": COUNT}


class PatchDiscriminator(nn.Module):
    """Logits of "real" per patch.

    Attributes:
        base: channels after the first layer (`ndf`), doubled by each layer up to 8 times.
        layers: strided layers after which two stride-1 layers follow; 3 in latent diffusion.
        norm_groups: groups of the norms; divides `base`.
        dtype: compute dtype.
    """

    base: int = 64
    layers: int = 3
    norm_groups: int = 32
    dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        """Look at each field by itself.

        Raises:
            InputError: naming one that no discriminator has.
        """
        check_fields("discriminator", self, RULES)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b _h _w 1"]:
        """Return one float32 logit a patch.

        Args:
            x: (b h w c) images in [-1, 1].

        Raises:
            InputError: if `norm_groups` does not divide `base`.

        Source: arXiv:1611.07004 App. 6.1.2; taming-transformers `NLayerDiscriminator`.
        """
        if self.base % self.norm_groups:
            raise InputError(
                f"discriminator: norm_groups={self.norm_groups} must divide base={self.base}"
            )
        x = nn.leaky_relu(self._conv(self.base, 2, 0)(x), 0.2)
        for index in range(1, self.layers + 1):
            stride = 2 if index < self.layers else 1
            x = self._conv(self.base * min(2**index, 8), stride, index)(x)
            x = nn.GroupNorm(self.norm_groups, epsilon=1e-5, name=f"norm_{index}")(x)
            x = nn.leaky_relu(x, 0.2).astype(self.dtype)
        return self._conv(1, 1, self.layers + 1)(x).astype(jnp.float32)

    def _conv(self, features: int, stride: int, index: int) -> Conv:
        # As in the original, a layer that a norm follows has the norm's bias only.
        return Conv(
            features,
            (4, 4),
            stride=stride,
            padding=((1, 1), (1, 1)),
            use_bias=index in (0, self.layers + 1),
            kernel_init=nn.initializers.normal(0.02),
            dtype=self.dtype,
            name=f"conv_{index}",
        )
