"""config.objective -> what a stage trains, what it stands on and what it leaves behind.

| stage | trains | stands on | leaves in weights.safetensors |
|---|---|---|---|
| autoencoder | autoencoder, discriminator | LPIPS weights | "autoencoder", latent scale |
| image | network | autoencoder | "unet" |
| video | temporal layers | image model, autoencoder | "temporal", backbone's hash |
"""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from vldm_jax.build import networks
from vldm_jax.build.diffusion import build_diffusion
from vldm_jax.build.origin import describe_origin
from vldm_jax.build.sampler import Sampler, load_context, to_uint8
from vldm_jax.checkpoint.weights import save_weights
from vldm_jax.core import paths
from vldm_jax.core.rng import stream
from vldm_jax.data.pipeline import Source
from vldm_jax.interop.weights import read_weights
from vldm_jax.models import table
from vldm_jax.models.discriminator import PatchDiscriminator
from vldm_jax.models.perceptual import LPIPS
from vldm_jax.models.perceptual_weights import load_lpips_weights
from vldm_jax.nn.mixer import mixes
from vldm_jax.training.objectives.autoencoder import AutoencoderObjective, measure_latent_scale
from vldm_jax.training.objectives.base import Objective
from vldm_jax.training.objectives.image import ImageObjective
from vldm_jax.training.objectives.video import VideoObjective
from vldm_jax.training.precision import compute_dtype
from vldm_jax.typing import Array, Key, PyTree, UInt8

SCALE_BATCHES, SCALE_BATCH = 16, 16  # frames that the latent scale is measured on: 256


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Stage:
    """What a run needs to know of its stage.

    Attributes:
        objective: what is minimised.
        params: whole parameter tree, trained and frozen.
        backbones: weights file -> SHA-256 of everything that the frozen part came from.
        preview: (whole params, source, count) -> frames (b t h w 3) that show how far it is.
        export: (path, whole trained-and-frozen params, steps, source) -> writes the weights file.
    """

    objective: Objective
    params: PyTree
    backbones: dict[str, str]
    preview: Callable[[PyTree, Source, int], UInt8[np.ndarray, "b t h w 3"]]
    export: Callable[[Path, PyTree, int, Source], None]


def build_stage(config: ConfigDict) -> Stage:
    """Return the stage of a config that passed `build.check`, with its parameters.

    Raises:
        InputError: if a weights file is missing or does not fit the config.
    """
    return STAGES[config.objective.kind](config, stream(jax.random.key(config.seed), "init"))


def build_sampler(config: ConfigDict) -> tuple[Sampler, PyTree, dict[str, str]]:
    """Return a sampler, the frozen parameters that it runs on and the hashes of their files.

    For a video config the network's part is the backbone: the trained temporal layers are merged in
    by the caller.

    Raises:
        InputError: if a weights file is missing or of another kind.
    """
    model = config.model
    first_stage = read_weights(model.autoencoder, "autoencoder", "--config.model.autoencoder")
    # Always float32: decoded pixels would show the eight bits of bfloat16 as bands.
    autoencoder = table.module_of("autoencoder", first_stage.fields, jnp.float32)
    network = networks.build_network(model, compute_dtype(config.train.precision))
    params: PyTree = {"autoencoder": first_stage.params}
    files = {first_stage.source: first_stage.sha256}
    if config.objective.kind == "video":
        backbone = read_weights(model.backbone, "unet", "--config.model.backbone")
        params["network"] = backbone.params
        files[backbone.source] = backbone.sha256
    return Sampler(config, network, autoencoder), params, files


def _autoencoder(config: ConfigDict, key: Key) -> Stage:
    dtype = compute_dtype(config.train.precision)
    module = networks.build_network(config.model, dtype)
    discriminator = PatchDiscriminator(**config.model.discriminator, dtype=dtype)
    perceptual = LPIPS(net=config.model.perceptual, dtype=dtype)
    fields = config.objective.to_dict()
    fields.pop("kind")
    x = jax.ShapeDtypeStruct((1, config.data.height, config.data.width, 3), jnp.float32)
    params = {
        "autoencoder": _initial(config, "autoencoder", module, stream(key, "autoencoder"), x),
        "logvar": jnp.zeros(()),
    }
    if fields["perceptual_weight"]:
        params["perceptual"] = load_lpips_weights(config.model.perceptual)
    if fields["disc_weight"]:
        params["discriminator"] = table.init_params(discriminator, stream(key, "disc"), x)
    objective = AutoencoderObjective(
        encode=_method(module, "encode"),
        decode_features=_method(module, "decode_features"),
        project=_method(module, "project"),
        perceptual=lambda p, x, y: perceptual.apply({"params": p}, x, y),
        discriminate=lambda p, x: discriminator.apply({"params": p}, x),
        **fields,
    )
    encode = jax.jit(lambda p, x: module.apply({"params": p}, x, method="encode"))
    reconstruct = jax.jit(lambda p, x: to_uint8(module.apply({"params": p}, x)))

    def preview(params: PyTree, source: Source, count: int) -> UInt8[np.ndarray, "b t h w 3"]:
        images = np.stack([source[i]["image"] for i in _spread(len(source), count)])
        decoded = reconstruct(params["autoencoder"], _to_pixels(images))
        return np.stack([images, np.asarray(decoded)], axis=1)

    def export(path: Path, params: PyTree, steps: int, source: Source) -> None:
        scale = measure_latent_scale(
            lambda x: encode(params["autoencoder"], x),
            _image_batches(source, SCALE_BATCHES, SCALE_BATCH),
            stream(key, "latent scale"),
        )
        fields = table.fields_of(module) | {"latent_scale": scale}
        meta = {"kind": "autoencoder", "config": fields, "steps": steps}
        save_weights(path, params["autoencoder"], meta, dtype=config.checkpoint.weights_dtype)

    return Stage(
        objective=objective, params=params, backbones={}, preview=preview, export=export
    )  # fmt: skip


def _image(config: ConfigDict, key: Key) -> Stage:
    sampler, frozen, files = build_sampler(config)
    module = sampler.network
    inputs = sampler.example_inputs()
    network = _initial(config, "unet", module, stream(key, "network"), *inputs)
    params = {**frozen, "network": network}
    objective = ImageObjective(**_denoising(config, sampler))

    def export(path: Path, params: PyTree, steps: int, source: Source) -> None:
        meta = {"kind": "unet", "config": table.fields_of(module), "steps": steps}
        meta |= describe_origin(config, files[config.model.autoencoder], len(source))
        save_weights(path, params["network"], meta, dtype=config.checkpoint.weights_dtype)

    return Stage(
        objective=objective, params=params, backbones=files,
        preview=_sample_preview(sampler), export=export,
    )  # fmt: skip


def _video(config: ConfigDict, key: Key) -> Stage:
    sampler, frozen, files = build_sampler(config)
    module = sampler.network
    inputs = sampler.example_inputs()
    wanted = table.abstract_params(module, *inputs)
    paths.check_fits(config.model.backbone, frozen["network"], table.spatial_part(wanted))
    temporal = _initial(
        config, table.TEMPORAL, module, stream(key, "network"), *inputs,
        keep=lambda path: table.TEMPORAL in path,
    )  # fmt: skip
    params = {**frozen, "network": paths.merge(frozen["network"], temporal)}
    objective = VideoObjective(**_denoising(config, sampler), mixes=mixes)

    def export(path: Path, params: PyTree, steps: int, source: Source) -> None:
        name = Path(config.model.backbone).name
        meta = {
            "kind": "temporal",
            "config": table.fields_of(module),
            "steps": steps,
            "backbone": {"name": name, "sha256": files[config.model.backbone]},
        }
        meta |= describe_origin(config, files[config.model.autoencoder], len(source))
        layers = table.temporal_part(params["network"])
        save_weights(path, layers, meta, dtype=config.checkpoint.weights_dtype)

    return Stage(
        objective=objective, params=params, backbones=files,
        preview=_sample_preview(sampler), export=export,
    )  # fmt: skip


STAGES = {"autoencoder": _autoencoder, "image": _image, "video": _video}


def _denoising(config: ConfigDict, sampler: Sampler) -> dict[str, Any]:
    module, autoencoder = sampler.network, sampler.autoencoder
    null = None
    if "null_context" in config.model:
        empty = load_context(config.model.null_context, "--config.model.null_context")
        null = jnp.asarray(empty[0])
    return {
        "encode": _method(autoencoder, "encode"),
        "predict": lambda p, z, time, cond: module.apply({"params": p}, z, time, cond, train=True),
        "diffusion": build_diffusion(config.diffusion),
        "latent_scale": autoencoder.latent_scale,
        "p_drop": config.objective.p_drop,
        "use_labels": config.objective.use_labels,
        "null_context": null,
    }


def _initial(
    config: ConfigDict,
    kind: str,
    module: nn.Module,
    key: Key,
    *inputs: Any,
    keep: Callable[[str], bool] = lambda path: True,
) -> PyTree:
    """What training starts from: fresh parameters, or those of `config.model.init`, float32."""
    if config.model.init is None:
        return table.init_params(module, key, *inputs, keep=keep)
    loaded = read_weights(config.model.init, kind, "--config.model.init")
    expected = paths.flatten(table.abstract_params(module, *inputs))
    kept = {path: leaf for path, leaf in expected.items() if keep(path)}
    paths.check_fits(config.model.init, loaded.params, paths.unflatten(kept))
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), loaded.params)


def _sample_preview(sampler: Sampler) -> Callable:
    def preview(params: PyTree, source: Source, count: int) -> UInt8[np.ndarray, "b t h w 3"]:
        del source
        return sampler(params, count)[0]

    return preview


def _method(module: nn.Module, name: str) -> Callable:
    return lambda params, x: module.apply({"params": params}, x, method=name)


def _image_batches(source: Source, batches: int, size: int) -> Iterator[np.ndarray]:
    indices = _spread(len(source), batches * size)
    for start in range(0, len(indices), size):
        yield np.stack([source[i]["image"] for i in indices[start : start + size]])


def _spread(length: int, count: int) -> list[int]:
    return sorted(set(np.linspace(0, length - 1, min(count, length)).round().astype(int).tolist()))


def _to_pixels(images: np.ndarray) -> Array:
    return jnp.asarray(images, jnp.float32) / 127.5 - 1.0
