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
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from vldm_jax.checkpoint.weights import save_weights
from vldm_jax.config.base import autoencoder_config
from vldm_jax.core.errors import InputError
from vldm_jax.core.fields import make
from vldm_jax.core.rng import stream
from vldm_jax.data.pipeline import Source
from vldm_jax.interop.weights import WeightsFile
from vldm_jax.models import table
from vldm_jax.models.discriminator import PatchDiscriminator
from vldm_jax.models.perceptual import LPIPS
from vldm_jax.models.perceptual_weights import find_lpips_weights, load_lpips_weights
from vldm_jax.sampling.maker import to_uint8
from vldm_jax.stages.autoencoder_loss import AutoencoderLoss, measure_latent_scale
from vldm_jax.stages.base import Stage
from vldm_jax.stages.latents import module_of, to_pixels
from vldm_jax.stages.origin import ENCODER, check_made_for, fingerprint_of
from vldm_jax.stages.start import start_from
from vldm_jax.training.precision import compute_dtype
from vldm_jax.typing import Array, Float, Int, Key, PyTree, UInt8

SCALE_BATCHES, SCALE_BATCH = 16, 16  # frames that the latent scale is measured on: 256


class AutoencoderStage(Stage):
    """Autoencoder and discriminator, on single frames."""

    base = staticmethod(autoencoder_config)
    model_keys = ("kind", "network", "discriminator", "perceptual", "init")
    objective_keys = ("perceptual_weight", "kl_weight", "disc_weight", "disc_start")
    given_names = ("perceptual",)
    exported = "autoencoder"
    needs = ("image",)
    shown = ("l1", "lpips", "kl")  # the loss is a sum over all values and says nothing to the eye

    def __init__(self, config: ConfigDict) -> None:
        if config.data.num_frames != 1:
            raise InputError(
                f"config.data.num_frames={config.data.num_frames}: the autoencoder trains on "
                "single frames, set it to 1"
            )
        super().__init__(config)
        dtype, model = compute_dtype(config.train.precision), config.model
        self.network = table.module_of(model.kind, model.network.to_dict(), dtype)
        fields = model.discriminator.to_dict()
        own = {"dtype": dtype, "parent": None, "name": None}
        self.discriminator = make(PatchDiscriminator, fields, "config.model.discriminator", **own)
        self.perceptual = LPIPS(net=model.perceptual, dtype=dtype)
        self.weights = config.objective

    @property
    def _image(self) -> jax.ShapeDtypeStruct:
        data = self.config.data
        return jax.ShapeDtypeStruct((1, data.height, data.width, 3), jnp.float32)

    def shapes(self) -> PyTree:
        """Return the shapes of autoencoder, log-variance and, if it plays, discriminator."""
        tree = {
            "autoencoder": table.abstract_params(self.network, self._image),
            "logvar": jax.ShapeDtypeStruct((), jnp.float32),
        }
        if self.weights.perceptual_weight:
            table.abstract_params(self.perceptual, self._image, self._image)
        if self.weights.disc_weight:
            tree["discriminator"] = table.abstract_params(self.discriminator, self._image)
        return tree

    @functools.cached_property
    def files(self) -> dict[str, WeightsFile]:
        """What training starts from, if anything."""
        if self.weights.perceptual_weight:
            find_lpips_weights(self.config.model.perceptual)
        if self.config.model.init is None:
            return {}
        init = self.find("init", "autoencoder")
        meaning = {"network": table.fields_of(self.network)}
        check_made_for(init, meaning, free={"network/latent_scale"})  # which is measured
        return {"init": init}

    def init(self, key: Key) -> PyTree:
        """Return fresh parameters, or the autoencoder of `config.model.init`."""
        shapes = self.shapes()

        def fresh(keep: Any) -> PyTree:
            where = stream(key, "autoencoder")
            return table.init_params(self.network, where, self._image, keep=keep)

        if "init" in self.files:
            autoencoder, _ = start_from(self.files["init"], shapes["autoencoder"], fresh, r"(?!)")
        else:
            autoencoder = fresh(lambda path: True)
        params = {"autoencoder": autoencoder, "logvar": jnp.zeros(())}
        if "discriminator" in shapes:
            where = stream(key, "disc")
            params["discriminator"] = table.init_params(self.discriminator, where, self._image)
        return params

    def given(self) -> PyTree:
        """Return the perceptual network, if the loss has it."""
        if not self.weights.perceptual_weight:
            return {}
        return {"perceptual": load_lpips_weights(self.config.model.perceptual)}

    def loss(
        self, params: PyTree, batch: dict[str, Any], key: Key, step: int | Int[Array, ""]
    ) -> tuple[Float[Array, ""], dict[str, Any]]:
        """Return the sum of both players' losses, see `autoencoder_loss`."""
        return self._loss(params, batch, key, step)

    @functools.cached_property
    def _loss(self) -> AutoencoderLoss:
        network, discriminator, perceptual = self.network, self.discriminator, self.perceptual

        def call(name: str) -> Any:
            return lambda params, x: network.apply({"params": params}, x, method=name)

        fields = {name: self.weights[name] for name in self.objective_keys}
        return AutoencoderLoss(
            encode=call("encode"),
            decode_features=call("decode_features"),
            project=call("project"),
            perceptual=lambda params, x, y: perceptual.apply({"params": params}, x, y),
            discriminate=lambda params, x: discriminator.apply({"params": params}, x),
            **fields,
        )

    @functools.cached_property
    def _reconstruct(self) -> Any:
        return jax.jit(lambda params, x: to_uint8(self.network.apply({"params": params}, x)))

    def preview(self, params: PyTree, source: Source, count: int) -> UInt8[np.ndarray, "b t h w 3"]:
        """Return frames of the data, each followed by its reconstruction."""
        images = np.stack([source[i]["image"] for i in _spread(len(source), count)])
        decoded = self._reconstruct(params["autoencoder"], to_pixels(jnp.asarray(images)))
        return np.stack([images, np.asarray(decoded)], axis=1)

    def export(
        self, path: Path, params: PyTree, trained: Sequence[str], steps: int, source: Source
    ) -> None:
        """Write the autoencoder; its scale is measured unless the encoder stayed what it was."""
        autoencoder = params["autoencoder"]
        moved = tuple(f"autoencoder/{name}/" for name in ENCODER)
        fields = table.fields_of(self.network)
        meta = {"kind": "autoencoder", "steps": steps}
        if "init" in self.files and not any(name.startswith(moved) for name in trained):
            before = self.files["init"]
            fields["latent_scale"] = module_of(before).latent_scale
            meta["latents"] = fingerprint_of(before)
            meta["same_latents_as"] = [before.sha256, *before.meta.get("same_latents_as", ())]
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
    indices = _spread(len(source), batches * size)
    for start in range(0, len(indices), size):
        yield np.stack([source[i]["image"] for i in indices[start : start + size]])


def _spread(length: int, count: int) -> list[int]:
    return sorted(set(np.linspace(0, length - 1, min(count, length)).round().astype(int).tolist()))
