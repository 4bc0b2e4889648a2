"""What must fit together in a config, checked before data is read or a device is touched."""

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from vldm_jax.build.diffusion import build_diffusion, build_grid, build_solver
from vldm_jax.build.networks import abstract_params, build_network, example_inputs
from vldm_jax.core.errors import InputError
from vldm_jax.core.paths import partition
from vldm_jax.training.precision import compute_dtype


def check(config: ConfigDict) -> None:
    """Check an experiment: fields of its network, rules, batch, frames, schedule, solver.

    Raises:
        InputError: naming the first thing that does not fit.
    """
    train, data = config.train, config.data
    dtype = compute_dtype(train.precision)
    if train.batch_size % config.optim.accumulate:
        raise InputError(
            f"config.train.batch_size={train.batch_size} must be divisible by "
            f"config.optim.accumulate={config.optim.accumulate}"
        )
    module = build_network(config.model, dtype)
    if config.objective.kind == "autoencoder":
        _need_frames(config, 1)
        image = jax.ShapeDtypeStruct((1, data.height, data.width, 3), jnp.float32)
        tree = {"autoencoder": abstract_params(module, image)}
    else:
        diffusion = build_diffusion(config.diffusion)
        build_solver(config.sampling)
        build_grid(config.sampling, diffusion.schedule)
        frames = ()
        if config.objective.kind == "image":
            _need_frames(config, 1)
        else:
            frames = (data.num_frames,)
        latent = (
            1,
            *frames,
            max(data.height // 8, 1),
            max(data.width // 8, 1),
            module.out_channels,
        )
        text = (1, module.context_dim) if "null_context" in config.model else None
        tree = {"network": abstract_params(module, *example_inputs(module, latent, text))}
    partition(tree, train.rules)


def _need_frames(config: ConfigDict, frames: int) -> None:
    if config.data.num_frames != frames:
        raise InputError(
            f"config.data.num_frames={config.data.num_frames}: the objective "
            f"{config.objective.kind!r} trains on single frames, set it to {frames}"
        )
