"""The image autoencoder: latents that diffusion is made on.

Its loss is in `autoencoder_loss.py`. What it leaves is the autoencoder with the scale that gives
its latents unit variance. Where the encoder stays as it was in the file that training started from
(rules that freeze it), so do the scale and the fingerprint: models on the old latents run on the
new decoder.

Source: arXiv:2304.08818, Sec. 3.3, "as in LDM"; arXiv:2112.10752 App. G.
"""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from vldm_jax.checkpoint.weights import save_weights
from vldm_jax.config.base import autoencoder_config
from vldm_jax.core.errors import InputError
from vldm_jax.core.rng import stream
from vldm_jax.data.pipeline import Source
from vldm_jax.models import table
from vldm_jax.models.discriminator import PatchDiscriminator
from vldm_jax.stages.autoencoder_loss import AutoencoderLoss, measure_latent_scale
from vldm_jax.stages.latents import module_of
from vldm_jax.stages.origin import ENCODER, same_latents
from vldm_jax.stages.reconstructing import KIND, ReconstructingStage, spread
from vldm_jax.typing import PyTree, UInt8

SCALE_BATCHES, SCALE_BATCH = 16, 16  # frames that the latent scale is measured on: 256


class AutoencoderStage(ReconstructingStage):
    """Autoencoder and discriminator, on single frames."""

    base = staticmethod(autoencoder_config)
    objective_keys = (*ReconstructingStage.objective_keys, "kl_weight")
    frames = "image"
    discriminates = PatchDiscriminator
    shown = (*ReconstructingStage.shown, "kl")

    def __init__(self, config: ConfigDict) -> None:
        if config.data.num_frames != 1:
            raise InputError(
                f"config.data.num_frames={config.data.num_frames}: the autoencoder trains on "
                "single frames, set it to 1"
            )
        super().__init__(config)

    @functools.cached_property
    def criterion(self) -> AutoencoderLoss:
        """The loss of the networks."""
        network = self.network

        def encode(params: PyTree, x: Any) -> Any:
            return network.apply({"params": params}, x, method="encode")

        return AutoencoderLoss(encode=encode, **self.parts)

    def preview(self, params: PyTree, source: Source, count: int) -> UInt8[np.ndarray, "b t h w 3"]:
        """Return frames of the data, each followed by its reconstruction."""
        pairs = self.reconstructed(params, source, count)
        return np.stack([np.concatenate(pair) for pair in pairs])

    def export(
        self, path: Path, params: PyTree, trained: Sequence[str], steps: int, source: Source
    ) -> None:
        """Write the autoencoder; its scale is measured unless the encoder stayed what it was."""
        autoencoder = params[KIND]
        moved = tuple(f"{KIND}/{name}/" for name in ENCODER)
        fields = table.fields_of(self.network)
        meta = {"kind": KIND, "steps": steps}
        if "init" in self.files and not any(name.startswith(moved) for name in trained):
            before = self.files["init"]
            fields["latent_scale"] = module_of(before).latent_scale
            meta |= same_latents(before)
        else:
            fields["latent_scale"] = self._measure(autoencoder, source)
        dtype = self.config.checkpoint.weights_dtype
        save_weights(path, autoencoder, meta | {"config": fields}, dtype=dtype)

    def _measure(self, autoencoder: PyTree, source: Source) -> float:
        apply = functools.partial(self.network.apply, method="encode")
        encode = jax.jit(lambda params, x: apply({"params": params}, x))
        key = stream(stream(jax.random.key(self.config.seed), "init"), "latent scale")
        batches = _image_batches(source, SCALE_BATCHES, SCALE_BATCH)
        return measure_latent_scale(lambda x: encode(autoencoder, x), batches, key)


def _image_batches(source: Source, batches: int, size: int) -> Iterator[np.ndarray]:
    indices = spread(len(source), batches * size)
    for start in range(0, len(indices), size):
        yield np.stack([source[i]["image"] for i in indices[start : start + size]])
