"""From noise to frames: one compiled function a stage.

    noise -> lax.scan over solver steps, guidance pair as one batch -> z / s -> decoder -> uint8

Noise is drawn per sample from (seed, index), so a sample does not depend on the batch it is in, and
the same index before and after alignment starts from the same noise.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from safetensors import SafetensorError
from safetensors.numpy import load_file

from vldm_jax.build.diffusion import build_grid, build_schedule, build_solver
from vldm_jax.core.assets import resolve
from vldm_jax.core.conditioning import Conditioning
from vldm_jax.core.errors import InputError
from vldm_jax.core.paths import check_fits
from vldm_jax.core.rng import stream
from vldm_jax.diffusion.denoiser import make_denoiser
from vldm_jax.diffusion.guidance import guided
from vldm_jax.models.autoencoder import Autoencoder
from vldm_jax.models.table import abstract_params, example_inputs
from vldm_jax.models.video_unet import VideoUNet
from vldm_jax.sampling.loop import sample
from vldm_jax.sampling.noise import sample_keys, sample_noise
from vldm_jax.typing import Array, Float, PyTree, UInt8


@dataclasses.dataclass(frozen=True, eq=False)
class Sampler:
    """A stage's sampler.

    Attributes:
        config: the experiment.
        network: UNet or VideoUNet.
        autoencoder: decodes the latents.
    """

    config: ConfigDict
    network: nn.Module
    autoencoder: Autoencoder

    def __call__(
        self, params: PyTree, count: int, *, first: int = 0, image_only: bool | None = None
    ) -> tuple[UInt8[np.ndarray, "b t h w 3"], Float[np.ndarray, "b k"]]:
        """Return `count` samples (t = 1 for an image model) and the labels they were asked for.

        Args:
            params: {"network": ..., "autoencoder": ...}, whole trees.
            count: number of samples.
            first: index of the first one; noise and labels belong to the index.
            image_only: True sets mix := 1; None follows config.sampling.image_only.
        """
        sampling = self.config.sampling
        size = min(sampling.batch_size, count)
        labels = np.stack([self._labels(first + i) for i in range(count)])
        frames = []
        for start in range(0, count, size):
            rows = np.arange(start, start + size)
            cond, null = self._conditions(rows + first, labels[rows % count], image_only)
            # The last batch is filled up, so that one program serves all.
            out = self._compiled(params, jnp.asarray(rows + first), cond, null)
            frames.append(np.asarray(out))
        return np.concatenate(frames)[:count], labels

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape ([t] h w c) of one sample's latents."""
        data, factor = self.config.data, self.autoencoder.factor
        space = (data.height // factor, data.width // factor, self.autoencoder.latent_channels)
        return (data.num_frames, *space) if isinstance(self.network, VideoUNet) else space

    def check(self, network: PyTree, path: str) -> None:
        """Raise unless the network's parameters, read from `path`, fit the config.

        Raises:
            InputError: naming the first parameter that does not fit.
        """
        check_fits(path, network, abstract_params(self.network, *self.example_inputs()))

    def example_inputs(self) -> tuple[Any, ...]:
        """Return zeros to initialise the network with."""
        text = (1, self.network.context_dim) if "null_context" in self.config.model else None
        return example_inputs(self.network, (1, *self.latent_shape), text)

    def latents(
        self, params: PyTree, index: Array, cond: Conditioning, null: Conditioning
    ) -> Float[Array, "b *t h w c"]:
        """Return scaled latents of the samples with these indices; traceable."""
        root = jax.random.key(self.config.seed)
        schedule = build_schedule(self.config.diffusion)

        def apply(z: Array, time: Array, cond: Conditioning) -> Array:
            return self.network.apply({"params": params}, z, time, cond, train=False)

        predict = guided(apply, cond, null, self.config.sampling.guidance)
        denoise = make_denoiser(predict, schedule, self.config.diffusion.target)
        start = sample_keys(stream(root, "sampling noise"), index)
        return sample(
            denoise,
            build_solver(self.config.sampling),
            build_grid(self.config.sampling, schedule),
            sample_noise(start, (*index.shape, *self.latent_shape)),
            sample_keys(stream(root, "sampling solver"), index),
        )

    def frames(
        self, params: PyTree, index: Array, cond: Conditioning, null: Conditioning
    ) -> UInt8[Array, "b t h w 3"]:
        """Return the frames of the samples with these indices; traceable.

        Args:
            params: {"network": ..., "autoencoder": ...}; of the autoencoder the decoder is enough.
            index: numbers of the samples; noise belongs to them.
            cond: what the samples are to be.
            null: the dropped conditions, for guidance.
        """
        z = self.latents(params["network"], index, cond, null)
        z = z if z.ndim == 5 else z[:, None]
        z_raw = z / self.autoencoder.latent_scale

        def decode(clip: Array) -> Array:
            video = self.autoencoder.temporal_decoder  # decodes the frames of a video together
            clip = clip[None] if video else clip
            x = self.autoencoder.apply({"params": params["autoencoder"]}, clip, method="decode")
            return to_uint8(x[0] if video else x)

        return jax.lax.map(decode, z_raw)  # a clip at a time: pixels are large

    @functools.cached_property
    def _compiled(self) -> Callable:
        return jax.jit(self.frames)

    def _labels(self, index: int) -> np.ndarray:
        if not self.config.objective.use_labels:
            return np.zeros(0, np.float32)
        rows = self.config.sampling.labels
        if not rows:  # nothing asked for: every label unknown
            return np.full(len(self.network.label_tokens), np.nan, np.float32)
        row = rows[index % len(rows)]
        return np.asarray(row, np.float32)

    def _conditions(
        self, index: np.ndarray, labels: np.ndarray, image_only: bool | None
    ) -> tuple[Conditioning, Conditioning]:
        b = len(index)
        cond = null = Conditioning()
        if self.config.objective.use_labels:
            cond = cond.replace(labels=jnp.asarray(labels))
            null = null.replace(labels=jnp.full(labels.shape, jnp.nan))
        if "null_context" in self.config.model:
            empty = load_context(self.config.model.null_context, "--config.model.null_context")
            text = load_context(self.config.sampling.context, "--config.sampling.context")
            cond = cond.replace(context=jnp.asarray(text[index % len(text)]))
            null = null.replace(context=jnp.broadcast_to(empty[:1], (b, *empty.shape[1:])))
        if isinstance(self.network, VideoUNet):
            only = self.config.sampling.image_only if image_only is None else image_only
            flags = jnp.full((b,), only)
            cond, null = cond.replace(image_only=flags), null.replace(image_only=flags)
        return cond, null


def load_context(path: str | None, flag: str) -> Float[np.ndarray, "b n d"]:
    """Return the text tokens of a safetensors file with one array "context".

    Raises:
        InputError: if the file is not given, missing, damaged or has no such array.
    """
    if not path:
        raise InputError(f"{flag[2:]} is not set: give a safetensors file with 'context' (b n d)")
    try:
        arrays = load_file(resolve(path))
    except (SafetensorError, OSError) as error:
        raise InputError(f"{flag}: {path} is no whole safetensors file ({error})") from error
    if "context" not in arrays or arrays["context"].ndim != 3:
        raise InputError(f"{flag}: {path} has no array 'context' (b n d)")
    return arrays["context"].astype(np.float32)


def to_uint8(x: Float[Array, "b h w 3"]) -> UInt8[Array, "b h w 3"]:
    """Return pixels in [-1, 1] as bytes, clipped."""
    return jnp.round((jnp.clip(x, -1.0, 1.0) + 1.0) * 127.5).astype(jnp.uint8)
