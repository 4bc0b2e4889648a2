"""A sampler of loaded networks, without a config: for notebooks, programs and evaluations.

    image = load("asset:driving/image.safetensors")
    video = load("asset:driving/temporal.safetensors").onto(image)
    sampler, params = make_sampler(video, load("asset:driving/autoencoder.safetensors"))
    frames = sampler(params, jax.random.key(0), jnp.arange(2), {"labels": ...})

What a weights file says of itself, its diffusion and its size, is taken from there.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from vldm_jax import conditions
from vldm_jax.config.diffusion import build_diffusion
from vldm_jax.core.errors import InputError
from vldm_jax.models.network import Network
from vldm_jax.sampling.grids import trailing
from vldm_jax.sampling.sampler import Sampler
from vldm_jax.sampling.solvers.base import Solver
from vldm_jax.sampling.solvers.dpmpp_2m import DPMpp2M
from vldm_jax.stages.latents import Latents
from vldm_jax.typing import Array, Conditioning, PyTree


def make_sampler(
    network: Network,
    autoencoder: Network,
    *,
    steps: int = 16,
    solver: Solver | None = None,
    grid: Callable = trailing,
    guidance: float | int = 1,
    size: tuple[int, int] | None = None,
    frames: int | None = None,
    diffusion: Mapping[str, Any] | None = None,
    null_context: Array | None = None,
) -> tuple[Sampler, PyTree]:
    """Return a sampler and the parameters to call it with.

    Args:
        network: an image or a video U-Net on latents.
        autoencoder: that decodes them.
        steps: of the solver.
        solver: None for DPM-Solver++(2M).
        grid: (schedule, steps) -> sigmas, one of `vldm_jax.sampling`'s.
        guidance: scale of classifier-free guidance, 1 for none.
        size: height and width in pixels; None for those that the network was trained at.
        frames: of a video; None for those that it was trained with.
        diffusion: as `config.diffusion`; None for what the network's file says.
        null_context: (1 n d) tokens of the empty prompt, for a network that takes text.

    Raises:
        InputError: if the networks do not belong together, or nothing tells size or diffusion.
    """
    module, latents = network.module, Latents(autoencoder.module)
    height, width = size or _told(network, "size", "size=(HEIGHT, WIDTH)")
    factor = latents.module.factor
    if height % factor or width % factor or module.out_channels != latents.module.latent_channels:
        raise InputError(
            f"{network.source} at {height}x{width} does not fit the latents of "
            f"{autoencoder.source}: {latents.module.latent_channels} channels, each pixel of "
            f"{factor}x{factor}"
        )
    shape = (height // factor, width // factor, module.out_channels)
    if module.temporal is not None:
        shape = (frames or _told(network, "num_frames", "frames=NUMBER"), *shape)
    means = build_diffusion(ConfigDict(diffusion or _told(network, "diffusion", "diffusion={...}")))
    nulls = {} if null_context is None else {"context": null_context}

    def predict(params: PyTree, z: Array, time: Array, cond: Conditioning) -> Array:
        return module.apply({"params": params["network"]}, z, time, cond, train=False)

    sampler = Sampler(
        network=predict,
        decode=lambda params, z: latents.decode(params["autoencoder"], z),
        drop=lambda cond: conditions.null_of(module.conditions, cond, nulls),
        schedule=means.schedule,
        target=means.target,
        solver=solver or DPMpp2M(),
        grid=grid(means.schedule, steps),
        guidance=guidance,
        shape=shape,
        name=network.kind,
    )
    params = {"network": network.params, "autoencoder": autoencoder.params}
    return sampler, jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)


def _told(network: Network, name: str, argument: str) -> Any:
    """Return what a network's file says of itself.

    Raises:
        InputError: if it does not say, naming the argument that says it.
    """
    temporal = getattr(network.module.temporal, "num_frames", None)
    told = {**network.meta, **({"num_frames": temporal} if temporal else {})}
    if name not in told:
        raise InputError(f"{network.source} does not tell its {name}: give {argument}")
    return told[name]
