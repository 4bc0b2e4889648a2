"""Pixels to latents and back, by the autoencoder that a stage stands on.

    z = s z_raw,   z_raw ~ E(x)   per frame, no gradient            x = D(z / s)

The autoencoder computes in float32 under every precision: it is small, and bfloat16's eight bits
show as bands in pixels.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from vldm_jax.core.errors import InputError
from vldm_jax.core.fields import make
from vldm_jax.interop.weights import WeightsFile
from vldm_jax.models import table
from vldm_jax.models.autoencoder import Autoencoder
from vldm_jax.nn.frames import FrameSplit
from vldm_jax.parallel.frames import over_frames
from vldm_jax.sampling.decoding import InParts
from vldm_jax.sampling.maker import to_pixels
from vldm_jax.typing import Array, Float, Key, PyTree


def sample_posterior(
    mean: Float[Array, "*shape"], logvar: Float[Array, "*shape"], key: Key
) -> Float[Array, "*shape"]:
    """Return mean + exp(logvar / 2) n, n ~ N(0, 1), in float32: raw (unscaled) latents."""
    noise = jax.random.normal(key, mean.shape, jnp.float32)
    return mean.astype(jnp.float32) + jnp.exp(0.5 * logvar.astype(jnp.float32)) * noise


@dataclasses.dataclass(frozen=True, eq=False)
class Latents:
    """The latent space of a frozen autoencoder.

    Attributes:
        module: the autoencoder; its field `latent_scale` is s.
        parts: how much is decoded at once.
        split: whether videos are decoded with their frames split over this process's devices: all
            at once, and exactly, in place of `parts`.
    """

    module: Autoencoder
    parts: InParts = InParts()
    split: bool = False

    def encode(
        self, params: PyTree, batch: dict[str, Any], frames: str, key: Key
    ) -> Float[Array, "b *t h w c"]:
        """Return posterior samples of a batch's frames as scaled latents; no gradient passes.

        Args:
            params: of the autoencoder.
            batch: with uint8 `frames` (b h w 3) or (b t h w 3); or, where they are computed
                already, with "latent_mean" and "latent_logvar".
            frames: "image" or "video".
            key: of the posterior sample.
        """
        if "latent_mean" in batch:
            mean, logvar = batch["latent_mean"], batch["latent_logvar"]
        else:
            x = to_pixels(batch[frames])
            leading = x.shape[:-3]
            flat = x.reshape(-1, *x.shape[-3:])
            mean, logvar = self.module.apply({"params": params}, flat, method="encode")
            mean, logvar = (a.reshape(*leading, *a.shape[1:]) for a in (mean, logvar))
        z_raw = sample_posterior(mean, logvar, key)
        return jax.lax.stop_gradient(self.module.latent_scale * z_raw)

    def decode(self, params: PyTree, z: Float[Array, "b *t h w c"]) -> Float[Array, "b *t H W 3"]:
        """Return frames, about [-1, 1], of scaled latents of images or videos.

        To a temporal decoder an image is a video of one frame.
        """
        if self.split and z.ndim == 5:
            return over_frames(self._decode_split, jax.local_devices())(params, z)
        return self.needed(functools.partial(_decode, self.module, params), z)

    @property
    def needed(self) -> InParts:
        """The parts, without overlap where frames do not look at each other."""
        if self.module.temporal_decoder:
            return self.parts
        return dataclasses.replace(self.parts, overlap=0)

    @property
    def parts_of_stream(self) -> InParts:
        """How a video is cut that is decoded as it comes: not if devices share its frames."""
        return InParts() if self.split else self.needed

    def _decode_split(self, params: PyTree, z: Array, axis: str, frames: int) -> Array:
        lie = FrameSplit(axis=axis, devices=jax.local_device_count(), frames=frames)
        return _decode(self.module.clone(split=lie), params, z)


def _decode(
    module: Autoencoder, params: PyTree, z: Float[Array, "b *t h w c"]
) -> Float[Array, "b *t H W 3"]:
    z_raw = z / module.latent_scale
    apply = functools.partial(module.apply, {"params": params}, method="decode")
    if module.temporal_decoder:
        return apply(z_raw) if z.ndim == 5 else apply(z_raw[:, None])[:, 0]
    x = apply(z_raw.reshape(-1, *z.shape[-3:]))
    return x.reshape(*z.shape[:-3], *x.shape[1:])


def parts_of(sampling: ConfigDict) -> tuple[InParts, bool]:
    """Return how `config.sampling.decode` decodes: in which parts, or split over devices.

    Raises:
        InputError: naming what cannot be.
    """
    fields = sampling.decode.to_dict()
    if type(split := fields.pop("split", None)) is not bool:
        raise InputError(f"config.sampling.decode.split={split!r} must be True or False")
    try:
        return make(InParts, fields, "decoding in parts"), split
    except InputError as error:
        raise InputError(f"config.sampling.decode: {error}") from error


def module_of(file: WeightsFile) -> Autoencoder:
    """Return the module, in float32, of an autoencoder's file."""
    return table.module_of("autoencoder", file.meta["config"], jnp.float32)


def check_size(file: WeightsFile, data: ConfigDict, channels: int) -> None:
    """Raise unless an autoencoder's latents are those of a network and of frames of `data`.

    Args:
        file: the autoencoder's.
        data: `config.data`.
        channels: that the network predicts.

    Raises:
        InputError: naming the keys of the config that do not fit.
    """
    module = module_of(file)
    if data.height % module.factor or data.width % module.factor:
        raise InputError(
            f"config.data.height and width, {data.height}x{data.width}, must be multiples of "
            f"{module.factor}, the factor of {file.path}"
        )
    if channels != module.latent_channels:
        raise InputError(
            f"config.model.network.out_channels={channels}, but the latents "
            f"of {file.path} have {module.latent_channels} channels"
        )
