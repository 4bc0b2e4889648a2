"""What a weights file says it was made for, and whether a config means the same.

Shapes alone do not tell: temporal layers trained for epsilon load into a v model, another
autoencoder's latents have the same channels, heads of 16 and of 32 have the same kernels. So every
file records its module's fields, its diffusion and its autoencoder's SHA-256, and whoever builds on
the file compares what both sides name. A converted foreign file names less, and less is compared.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
from ml_collections import ConfigDict

from vldm_jax.checkpoint.configs import canonical
from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.models.table import fields_of

# What may differ: it changes how the weights are run or were trained, not what they mean.
FREE = {
    "network/remat",
    "network/dropout",
    "network/temporal/max_frame_distance",
    "diffusion/min_snr_gamma",
}


def describe_origin(config: ConfigDict, autoencoder_sha256: str, examples: int) -> dict[str, Any]:
    """Return what a denoising network's file records of what it was trained on."""
    return {
        "diffusion": config.diffusion.to_dict(),
        "autoencoder_sha256": autoencoder_sha256,
        "fps": float(config.data.fps),
        "size": [config.data.height, config.data.width],
        "examples": examples,
    }


def check_origin(
    path: str,
    fields: Mapping[str, Any],
    meta: Mapping[str, Any],
    config: ConfigDict,
    network: nn.Module,
    autoencoder_sha256: str,
) -> None:
    """Raise if the weights in `path` were made for another network, diffusion or autoencoder.

    Args:
        path: the file, for the message.
        fields: of its network.
        meta: what else it says of itself.
        config: the experiment that wants to use it.
        network: the module of `config.model`.
        autoencoder_sha256: of the file `config.model.autoencoder`.

    Raises:
        InputError: naming what differs.
    """
    there = {"network": fields}
    there |= {key: meta[key] for key in ("diffusion", "autoencoder_sha256") if key in meta}
    here = {
        "network": fields_of(network),
        "diffusion": config.diffusion.to_dict(),
        "autoencoder_sha256": autoencoder_sha256,
    }
    there, here = paths.flatten(canonical(there)), paths.flatten(canonical(here))
    different = [
        f"{key} is {there[key]} there and {here[key]} here"
        for key in sorted((there.keys() & here.keys()) - FREE)
        if there[key] != here[key]
    ]
    if different:
        raise InputError(
            f"{path} was made for another experiment: {'; '.join(different[:3])}: "
            "use the config and the autoencoder that it was trained with"
        )
