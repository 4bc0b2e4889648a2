"""The temporal decoder: temporal layers are inserted into an image decoder and trained on clips.

    z[t] = E(x[t])            frozen encoder, each frame alone      xh = D(z[1], ..., z[t])

A decoder that sees single frames flickers. This one sees the clip; its loss is in `decoder_loss`.
The encoder and the scale of the latents stay what they were in the file that training starts from,
`config.model.init`, so the fingerprint of the latents does: every model on these latents goes on
working with what is left behind, a whole autoencoder with a temporal decoder. The rules say what of
the decoder is trained; the encoder is no loss's to reach.

Source: Align your Latents, arXiv:2304.08818, Sec. 3.1.1.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from vldm_jax.checkpoint.weights import save_weights
from vldm_jax.config.base import decoder_config
from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.data.pipeline import Source
from vldm_jax.interop.weights import WeightsFile, find_weights
from vldm_jax.models import table
from vldm_jax.models.table import TEMPORAL
from vldm_jax.models.video_discriminator import VideoDiscriminator
from vldm_jax.stages.decoder_loss import DecoderLoss
from vldm_jax.stages.latents import module_of
from vldm_jax.stages.origin import ENCODER, same_latents
from vldm_jax.stages.reconstructing import KIND, ReconstructingStage
from vldm_jax.typing import Array, PyTree, UInt8

LAST_KERNEL = "decoder/temporal_conv_out/kernel"


class DecoderStage(ReconstructingStage):
    """The decoder of an autoencoder with temporal layers, and a discriminator of videos."""

    base = staticmethod(decoder_config)
    given_names = (*ReconstructingStage.given_names, "encoder")
    frames = "video"
    discriminates = VideoDiscriminator
    encoder = "encoder"
    may_differ = ReconstructingStage.may_differ | {"network/temporal_decoder"}
    new_layers = TEMPORAL

    def __init__(self, config: ConfigDict) -> None:
        if config.data.num_frames == 1:
            raise InputError(
                "config.data.num_frames=1: a temporal decoder is trained on clips, set it to at "
                "least 2"
            )
        super().__init__(config)

    def fields(self) -> dict[str, Any]:
        """Return the fields of the image autoencoder of the config, with a temporal decoder."""
        return {**super().fields(), "temporal_decoder": True}

    def split(self, autoencoder: PyTree) -> PyTree:
        """Return encoder and decoder, the latter as "autoencoder"."""
        encoder = {name: autoencoder[name] for name in ENCODER}
        decoder = {name: leaf for name, leaf in autoencoder.items() if name not in ENCODER}
        return {KIND: decoder, self.encoder: encoder}

    @functools.cached_property
    def files(self) -> dict[str, WeightsFile]:
        """The autoencoder that training starts from, and whose latents are decoded."""
        find_weights(self.config.model.init, (KIND,), "--config.model.init")
        return super().files

    def given(self) -> PyTree:
        """Return the encoder, and the perceptual network if the loss has it."""
        encoder = self.files["init"].read()
        return {**super().given(), self.encoder: {name: encoder[name] for name in ENCODER}}

    @functools.cached_property
    def criterion(self) -> DecoderLoss:
        """The loss of the networks."""
        module = self.network.clone(dtype=np.float32)  # latents are those of other stages

        def encode(params: PyTree, x: Array) -> tuple[Array, Array]:
            flat = x.reshape(-1, *x.shape[-3:])
            moments = module.apply({"params": params}, flat, method="encode")
            mean, logvar = (a.reshape(*x.shape[:2], *a.shape[1:]) for a in moments)
            return mean, logvar

        return DecoderLoss(encode=encode, last_kernel=LAST_KERNEL, **self.parts)

    def preview(self, params: PyTree, source: Source, count: int) -> UInt8[np.ndarray, "b t h w 3"]:
        """Return clips of the data, below each its reconstruction."""
        pairs = self.reconstructed(params, source, count)
        return np.stack([video for pair in pairs for video in pair])

    def preview_captions(self, source: Source, count: int) -> list[str]:
        """Return which row is which."""
        return ["a clip", "its reconstruction"] * min(len(source), count)

    def export(
        self, path: Path, params: PyTree, trained: Sequence[str], steps: int, source: Source
    ) -> None:
        """Write the whole autoencoder: the encoder is to the bit what it was."""
        del trained
        before, data = self.files["init"], self.config.data
        encoder = before.read()
        whole = paths.merge({name: encoder[name] for name in ENCODER}, params[KIND])
        fields = {**table.fields_of(self.network), "latent_scale": module_of(before).latent_scale}
        meta = {
            "kind": KIND,
            "config": fields,
            "steps": steps,
            **same_latents(before),
            "decoder": {
                "num_frames": data.num_frames,
                "fps": float(data.fps),
                "size": [data.height, data.width],
                "examples": len(source),
            },
        }
        save_weights(path, whole, meta, dtype=self.config.checkpoint.weights_dtype)
