"""What a weights file says it was made for, and whether a config means the same.

Shapes alone do not tell: temporal layers trained for epsilon load into a v model, another
autoencoder's latents have the same channels, heads of 16 and of 32 have the same kernels. So every
file records its module's fields, its diffusion and its latents, and whoever builds on the file
compares what both sides name. A converted foreign file names less, and less is compared.

Latents are known by a fingerprint of the encoder and the scale, so an autoencoder whose decoder
alone was tuned is the same autoencoder to every model on it. A file from before there were
fingerprints records the SHA-256 of its autoencoder's file; a tuned autoencoder lists those whose
latents it shares.
"""

import functools
import hashlib
from collections.abc import Mapping, Set
from typing import Any

import numpy as np

from vldm_jax.checkpoint.configs import canonical
from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.interop.weights import WeightsFile
from vldm_jax.stages.latents import module_of
from vldm_jax.typing import PyTree

ENCODER = ("encoder", "quant_conv")  # of an autoencoder: what makes the latents
# What may differ: it changes how the weights are run or were trained, not what they mean.
FREE = {
    "network/remat",
    "network/dropout",
    "network/temporal/max_frame_distance",
    "diffusion/min_snr_gamma",
}
# What files of earlier versions, which do not name it, have.
FORMER = {"network/temporal/norms": "joint"}
# What training may add to a network that it starts from; its layers are fresh then.
ADDED = frozenset(
    {
        "network/label_tokens",
        "network/num_classes",
        "network/added_time_ids",
        "network/more_conditions",
        "network/temporal/num_frames",
    }
)


def latents_fingerprint(autoencoder: PyTree, scale: float) -> str:
    """Return the SHA-256 of what makes an autoencoder's latents: encoder (float32) and scale."""
    digest = hashlib.sha256(f"{scale!r}".encode())
    for name in ENCODER:
        for path, leaf in paths.flatten(autoencoder[name]).items():
            digest.update(f"{name}/{path}{tuple(leaf.shape)}".encode())
            digest.update(np.ascontiguousarray(np.asarray(leaf, np.float32)))
    return digest.hexdigest()


@functools.lru_cache(maxsize=64)  # of a file that does not say it, reading it takes long
def fingerprint_of(autoencoder: WeightsFile) -> str:
    """Return the fingerprint of an autoencoder's latents: what its file says, or what it holds."""
    meta = autoencoder.meta
    if "latents" in meta:
        return meta["latents"]
    return latents_fingerprint(autoencoder.read(), module_of(autoencoder).latent_scale)


def same_latents(autoencoder: WeightsFile) -> dict[str, Any]:
    """Return what the file of another decoder for an autoencoder's latents says of them."""
    return {
        "latents": fingerprint_of(autoencoder),
        "same_latents_as": [autoencoder.sha256, *autoencoder.meta.get("same_latents_as", ())],
    }


def check_made_for(
    file: WeightsFile, here: Mapping[str, Any], *, free: Set[str] = frozenset()
) -> None:
    """Raise if the weights in a file were made for something else than what is wanted here.

    Args:
        file: found, not read.
        here: {"network": fields, "diffusion": section, ...} that they are wanted for; only what the
            file names, too, is compared.
        free: paths that may differ beside `FREE`.

    Raises:
        InputError: naming what differs.
    """
    there = {"network": file.meta["config"]} | {k: v for k, v in file.meta.items() if k in here}
    there, wanted = paths.flatten(canonical(there)), paths.flatten(canonical(here))
    if "network/temporal/mix" in there:
        there = FORMER | there
    if "network/label_tokens" in free and _differ(there, wanted, "network/label_tokens"):
        free = free | {"columns/labels"}  # other labels have other names
    different = [
        f"{key} is {there[key]} there and {wanted[key]} here"
        for key in sorted((there.keys() & wanted.keys()) - FREE - free)
        if _differ(there, wanted, key)
    ]
    if different:
        raise InputError(
            f"{file.path} was made for another experiment: {'; '.join(different[:3])}: "
            "use the config that it was trained with"
        )


def check_length(file: WeightsFile, frames: int) -> None:
    """Raise if trained temporal layers cannot make clips of another length than they learned from.

    A mix a frame has one weight for each; absolute positions have never been seen beyond the
    trained length. A scalar mix and relative positions know no length.

    Args:
        file: of temporal layers, or a network with some.
        frames: of the clips that are wanted.

    Raises:
        InputError: naming both lengths, and what to do.
    """
    temporal = file.meta["config"]["temporal"]
    mix, positions = (temporal.get(key) for key in ("mix", "positions"))
    of_any = "for any length train with config.model.temporal.mix='scalar' and positions='relative'"
    if mix == "per_frame" and temporal["num_frames"] != frames:
        raise InputError(
            f"{file.path} has a mix for each of {temporal['num_frames']} frames: set "
            f"config.data.num_frames={frames} to that; {of_any}"
        )
    if positions == "absolute" and frames > file.meta.get("num_frames", frames):
        raise InputError(
            f"{file.path} knows the positions of {file.meta['num_frames']} frames: set "
            f"config.data.num_frames={frames} to at most that; {of_any}"
        )


def _differ(there: Mapping[str, Any], wanted: Mapping[str, Any], key: str) -> bool:
    return key in there and key in wanted and there[key] != wanted[key]


def check_latents(
    file: WeightsFile, autoencoder: WeightsFile, given: str = "--config.model.autoencoder=FILE"
) -> None:
    """Raise if a network was trained on the latents of another autoencoder.

    Args:
        file: of the network.
        autoencoder: that it is to run on.
        given: how another one is, for the message.

    Raises:
        InputError: naming both files.
    """
    if "latents" in file.meta:
        same = file.meta["latents"] == fingerprint_of(autoencoder)
    elif "autoencoder_sha256" in file.meta:
        known = [autoencoder.sha256, *autoencoder.meta.get("same_latents_as", ())]
        same = file.meta["autoencoder_sha256"] in known
    else:
        return
    if not same:
        raise InputError(
            f"{file.path} was trained on the latents of another autoencoder than "
            f"{autoencoder.path}: give the one that it was trained with, {given}"
        )
