"""What must fit together in a config, checked before data is read or a device is touched.

`check` needs the config alone: ranges, rules, labels, optimiser, schedule, solver, and the fields
of the network, whose parameters are only shaped. `check_files` opens the weights files that a stage
stands on and reads what they say of themselves.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from vldm_jax.build import networks
from vldm_jax.build.diffusion import build_diffusion, build_grid, build_solver
from vldm_jax.build.origin import check_origin
from vldm_jax.build.sampler import load_context
from vldm_jax.build.training import build_optimiser
from vldm_jax.checkpoint.weights import DTYPES
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import sha256
from vldm_jax.core.paths import partition
from vldm_jax.diffusion.denoiser import make_denoiser
from vldm_jax.interop.weights import find_weights
from vldm_jax.models import table
from vldm_jax.models.discriminator import PatchDiscriminator
from vldm_jax.models.perceptual import LPIPS
from vldm_jax.models.perceptual_weights import find_lpips_weights
from vldm_jax.training.precision import compute_dtype
from vldm_jax.typing import PyTree

AT_LEAST_ONE = (
    "data.num_frames",
    "data.height",
    "data.width",
    "optim.accumulate",
    "train.batch_size",
    "train.total_steps",
    "train.log_every",
    "train.sample_every",
    "sampling.num_videos",
    "sampling.batch_size",
    "sampling.steps",
    "checkpoint.every",
    "checkpoint.keep",
)
POSITIVE = ("data.fps", "data.stride", "optim.lr")
NOT_NEGATIVE = ("optim.warmup_steps", "optim.weight_decay", "data.workers")
FRACTIONS = ("objective.p_drop", "train.ema_decay")


def check(config: ConfigDict) -> None:
    """Check an experiment by its config alone.

    Raises:
        InputError: naming the first thing that does not fit.
    """
    _check_ranges(config)
    train = config.train
    if train.batch_size % config.optim.accumulate:
        raise InputError(
            f"config.train.batch_size={train.batch_size} must be divisible by "
            f"config.optim.accumulate={config.optim.accumulate}"
        )
    if config.checkpoint.weights_dtype not in DTYPES:
        raise InputError(
            f"config.checkpoint.weights_dtype={config.checkpoint.weights_dtype!r}: "
            f"choose one of {tuple(DTYPES)}"
        )
    kind = config.objective.kind
    if kind not in TREES:
        raise InputError(f"config.objective.kind={kind!r}: choose one of {sorted(TREES)}")
    tree = TREES[kind](config, compute_dtype(train.precision))
    build_optimiser(config)
    partition(tree, train.rules)


def check_files(config: ConfigDict) -> None:
    """Check the weights files that a config names, by their descriptions.

    Raises:
        InputError: if a file is missing, of another kind, or made for another experiment.
    """
    model, kind = config.model, config.objective.kind
    if kind == "autoencoder":
        if config.objective.perceptual_weight:
            find_lpips_weights(model.perceptual)
        _check_init(config, "autoencoder")
        return
    path = model.autoencoder
    file, meta = find_weights(path, "autoencoder", "--config.model.autoencoder")
    network = networks.build_network(model, compute_dtype(config.train.precision))
    _check_latents(config, network, table.module_of("autoencoder", meta["config"], jnp.float32))
    if kind == "video":
        _, meta = find_weights(model.backbone, "unet", "--config.model.backbone")
        check_origin(model.backbone, meta["config"], meta, config, network, sha256(file))
    if "null_context" in model:
        load_context(model.null_context, "--config.model.null_context")
    _check_init(config, {"image": "unet", "video": table.TEMPORAL}[kind])


def _check_ranges(config: ConfigDict) -> None:
    def all_of(keys: tuple[str, ...], good: Callable[[Any], bool], wanted: str) -> None:
        for key in keys:
            section, name = key.split(".")
            value = config[section][name] if name in config[section] else None
            if value is not None and not good(value):
                raise InputError(f"config.{key}={value} must be {wanted}")

    all_of(AT_LEAST_ONE, lambda value: value >= 1, "at least 1")
    all_of(POSITIVE, lambda value: value > 0, "more than 0")
    all_of(NOT_NEGATIVE, lambda value: value >= 0, "at least 0")
    all_of(FRACTIONS, lambda value: 0 <= value <= 1, "in [0, 1]")


def _autoencoder_tree(config: ConfigDict, dtype: Any) -> PyTree:
    _need_frames(config, 1)
    data, model, weights = config.data, config.model, config.objective
    image = jax.ShapeDtypeStruct((1, data.height, data.width, 3), jnp.float32)
    module = networks.build_network(model, dtype)
    tree = {
        "autoencoder": table.abstract_params(module, image),
        "logvar": jax.ShapeDtypeStruct((), jnp.float32),
    }
    if weights.disc_weight:
        discriminator = PatchDiscriminator(**model.discriminator, dtype=dtype)
        tree["discriminator"] = table.abstract_params(discriminator, image)
    if weights.perceptual_weight:
        perceptual = LPIPS(net=model.perceptual, dtype=dtype)
        tree["perceptual"] = table.abstract_params(perceptual, image, image)
    return tree


def _denoising_tree(config: ConfigDict, dtype: Any, *, video: bool) -> PyTree:
    data = config.data
    if not video:
        _need_frames(config, 1)
    module = networks.build_network(config.model, dtype)
    _check_sampling(config)
    _check_labels(config, module.label_tokens)
    # The factor of the autoencoder is in its file; parameters do not depend on the latents' size.
    space = (max(data.height // 8, 1), max(data.width // 8, 1), module.out_channels)
    latent = (1, data.num_frames, *space) if video else (1, *space)
    text = (1, module.context_dim) if "null_context" in config.model else None
    inputs = table.example_inputs(module, latent, text)
    return {"network": table.abstract_params(module, *inputs)}


TREES = {
    "autoencoder": _autoencoder_tree,
    "image": functools.partial(_denoising_tree, video=False),
    "video": functools.partial(_denoising_tree, video=True),
}


def _need_frames(config: ConfigDict, frames: int) -> None:
    if config.data.num_frames != frames:
        raise InputError(
            f"config.data.num_frames={config.data.num_frames}: the objective "
            f"{config.objective.kind!r} trains on single frames, set it to {frames}"
        )


def _check_sampling(config: ConfigDict) -> None:
    diffusion = build_diffusion(config.diffusion)
    build_solver(config.sampling)
    build_grid(config.sampling, diffusion.schedule)
    make_denoiser(lambda z, time: z, diffusion.schedule, diffusion.target)


def _check_labels(config: ConfigDict, tokens: tuple[str, ...]) -> None:
    if config.objective.use_labels != bool(tokens):
        raise InputError(
            f"config.objective.use_labels={config.objective.use_labels}, but the network has "
            f"label_tokens={tokens}: set both or neither"
        )
    if not config.objective.use_labels:
        return
    names = config.data.labels
    if len(names) != len(tokens):
        raise InputError(
            f"config.data.labels={names} must name {len(tokens)} labels, "
            f"one for each of model.network.label_tokens={tokens}"
        )
    for row in config.sampling.labels:
        if not isinstance(row, tuple) or len(row) != len(tokens):
            raise InputError(
                f"config.sampling.labels: {row} must be a tuple of {len(tokens)} values, "
                f"one for each of {tuple(names)}"
            )


def _check_latents(config: ConfigDict, network: Any, autoencoder: Any) -> None:
    data, factor = config.data, autoencoder.factor
    if data.height % factor or data.width % factor:
        raise InputError(
            f"config.data.height and width, {data.height}x{data.width}, must be multiples of "
            f"{factor}, the factor of {config.model.autoencoder}"
        )
    if network.out_channels != autoencoder.latent_channels:
        raise InputError(
            f"config.model.network.out_channels={network.out_channels}, but the latents of "
            f"{config.model.autoencoder} have {autoencoder.latent_channels} channels"
        )


def _check_init(config: ConfigDict, kind: str) -> None:
    if config.model.init is not None:
        find_weights(config.model.init, kind, "--config.model.init")
