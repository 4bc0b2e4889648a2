"""A sampler of loaded networks, without a config: for notebooks, programs and evaluations.

    image = load("asset:driving/image.safetensors")
    video = load("asset:driving/temporal.safetensors").onto(image)
    sampler, params = make_sampler(video, load("asset:driving/autoencoder.safetensors"))
    frames = sampler(params, jax.random.key(0), jnp.arange(2), {"labels": ...})

What a weights file says of itself, its diffusion and its size, is taken from there.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from vldm_jax import conditions
from vldm_jax.checkpoint.weights import is_weights
from vldm_jax.conditions.context_frames import ContextFrames
from vldm_jax.conditions.context_noise import ContextNoise
from vldm_jax.config.diffusion import NEEDED, build_diffusion
from vldm_jax.core.errors import InputError
from vldm_jax.diffusion.schedules import Schedule
from vldm_jax.interop.weights import WeightsFile
from vldm_jax.models.network import AutoencoderNetwork, Network, TemporalNetwork, TextNetwork
from vldm_jax.sampling.grids import trailing
from vldm_jax.sampling.sampler import Guidance, Sampler, Tell, as_asked
from vldm_jax.sampling.solvers.base import Solver
from vldm_jax.sampling.solvers.dpmpp_2m import DPMpp2M
from vldm_jax.stages.latents import Latents
from vldm_jax.stages.origin import check_latents
from vldm_jax.stages.told_frames import ToldFrames
from vldm_jax.typing import Array, Conditioning, PyTree


def make_sampler(
    network: Network,
    autoencoder: Network,
    *,
    steps: int = 16,
    solver: Solver | None = None,
    grid: Callable = trailing,
    guidance: float | int = 1,
    context_guidance: float | int = 1,
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
        context_guidance: the same away from no frame given, of a network with context frames.
        size: height and width in pixels; None for those that the network was trained at.
        frames: of a video; None for those that it was trained with.
        diffusion: entries of `config.diffusion`; the network's file says the others.
        null_context: (1 n d) tokens of the empty prompt, for a network that takes text.

    Raises:
        InputError: if the networks do not belong together, or nothing tells size or diffusion.
    """
    _check_kinds(network, autoencoder)
    module, latents, said = network.module, Latents(autoencoder.module), _said(network)
    size = tuple(size or _told(said, "size", "size=(HEIGHT, WIDTH)"))
    shape = _latent_shape(network, autoencoder, size)
    if module.temporal is not None:
        if frames is None:
            frames = _told(said, "num_frames", "frames=NUMBER")
        if frames < 1:
            raise InputError(f"{frames=} of {network.source} must be 1 or more")
        shape = (frames, *shape)
    meant = {**said["diffusion"], **(diffusion or {})}
    if missing := [name for name in NEEDED if name not in meant]:
        raise InputError(
            f"{network.source} does not tell its diffusion's {missing[0]}: give "
            f"diffusion={{{missing[0]!r}: ...}}"
        )
    means = build_diffusion(meant)
    _check_latents(network, said, autoencoder)
    nulls = {} if null_context is None else {"context": null_context}

    def predict(params: PyTree, z: Array, time: Array, cond: Conditioning) -> Array:
        return module.apply({"params": params["network"]}, z, time, cond, train=False)

    sampler = Sampler(
        network=predict,
        decode=lambda params, z: latents.decode(params["autoencoder"], z),
        drop=lambda cond, keys: conditions.null_of(
            [c for c in module.conditions if c.key in keys], cond, nulls
        ),
        schedule=means.schedule,
        target=means.target,
        solver=solver or DPMpp2M(),
        grid=grid(means.schedule, steps),
        guidance=(
            Guidance(tuple(c.key for c in module.conditions if not c.of_clip), guidance),
            Guidance((ContextFrames.key,), context_guidance),
        ),
        shape=shape,
        name=network.kind,
        tell=_tell(module.conditions, means.schedule),
    )
    params = {"network": network.params, "autoencoder": autoencoder.params}
    return sampler, jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)


def _tell(taken: Sequence[conditions.Condition], schedule: Schedule) -> Tell:
    """Return what makes a network's context frames of what a sample is to be, without noise."""
    keys = {condition.key for condition in taken}
    if ContextFrames.key not in keys:
        return as_asked
    return ToldFrames(tells_noise=ContextNoise.key in keys, schedule=schedule)


def _check_kinds(network: Network, autoencoder: Network) -> None:
    """Raise unless one denoises and the other decodes.

    Raises:
        InputError: naming the one that does not.
    """
    if isinstance(network, TemporalNetwork):
        raise InputError(
            f"{network.source} has temporal layers alone: give network.onto(UNET), the video U-Net "
            "of them and their backbone"
        )
    if isinstance(network, AutoencoderNetwork | TextNetwork):
        raise InputError(
            f"network: {network.source} is of kind {network.kind!r}, which denoises nothing: give "
            "a U-Net"
        )
    if not isinstance(autoencoder, AutoencoderNetwork):
        raise InputError(
            f"autoencoder: {autoencoder.source} is of kind {autoencoder.kind!r}, which decodes no "
            "latents: give the autoencoder that the U-Net was trained on"
        )


def _latent_shape(
    network: Network, autoencoder: Network, size: tuple[int, int]
) -> tuple[int, int, int]:
    """Return (h w c) of the latents of an image.

    Raises:
        InputError: if it is no multiple of a latent's pixels, or the networks' channels differ.
    """
    height, width = size
    factor, channels = autoencoder.module.factor, autoencoder.module.latent_channels
    if height < 1 or width < 1 or height % factor or width % factor:
        raise InputError(
            f"size {height}x{width} must be positive multiples of {factor}, the pixels of a latent "
            f"of {autoencoder.source}"
        )
    takes = network.module.out_channels
    if "conv_in" in network.params:  # where images stand beside the latents, it takes more
        takes = network.params["conv_in"]["kernel"].shape[-2]
    if (takes, network.module.out_channels) != (channels, channels):
        raise InputError(
            f"{network.source} takes {takes} channels and returns {network.module.out_channels}, "
            f"the latents of {autoencoder.source} have {channels}: give networks that were "
            "trained together"
        )
    return height // factor, width // factor, channels


def _said(network: Network) -> dict[str, Any]:
    """Return what a network's file says of itself, and where it is silent, its image model's."""
    image = network.meta.get("image_model", {})
    said = {**image, **network.meta}
    said["diffusion"] = {**image.get("diffusion", {}), **network.meta.get("diffusion", {})}
    if frames := getattr(network.module.temporal, "num_frames", None):
        said["num_frames"] = frames
    return said


def _told(said: Mapping[str, Any], name: str, argument: str) -> Any:
    """Return an entry of what is said.

    Raises:
        InputError: if it is not said, naming the argument that says it.
    """
    if name not in said:
        raise InputError(f"the network's file does not tell its {name}: give {argument}")
    return said[name]


@dataclasses.dataclass(frozen=True, eq=False)
class _Loaded(WeightsFile):
    """A network in memory that no weights file holds, as one."""

    params: PyTree

    def read(self) -> PyTree:
        """Return its parameters."""
        return self.params


def _check_latents(network: Network, said: Mapping[str, Any], autoencoder: Network) -> None:
    """Raise if the network says that its latents are another autoencoder's.

    Raises:
        InputError: as `check_latents`.
    """
    path, meta = autoencoder.source, {"config": autoencoder.fields, **autoencoder.meta}
    if is_weights(path):
        decoder = WeightsFile(path, Path(path), meta)
    else:
        # Files from before there were fingerprints know a hash of a file, and there is none.
        said = {name: value for name, value in said.items() if name != "autoencoder_sha256"}
        decoder = _Loaded(path, Path(path), meta, autoencoder.params)
    denoiser = WeightsFile(network.source, Path(network.source), dict(said))
    check_latents(denoiser, decoder, "autoencoder=NETWORK")
