"""config.model -> modules.

What a stage stands on is no part of it: a weights file describes itself (`interop.weights`), so the
autoencoder is built from what its file says, and a backbone is checked against the network that the
config asks for.
"""

from typing import Any

import flax.linen as nn
from ml_collections import ConfigDict

from vldm_jax.build.table import from_table
from vldm_jax.models.autoencoder import Autoencoder
from vldm_jax.models.table import temporal_of
from vldm_jax.models.unet import UNet
from vldm_jax.models.video_unet import VideoUNet
from vldm_jax.typing import DTypeLike


def _unet(*, network: dict[str, Any], dtype: DTypeLike, **rest: Any) -> UNet:
    del rest  # the files that a stage starts from
    return UNet(**network, dtype=dtype)


def _video_unet(
    *, network: dict[str, Any], temporal: dict[str, Any], dtype: DTypeLike, **rest: Any
) -> VideoUNet:
    del rest
    return VideoUNet(**network, temporal=temporal_of(temporal), dtype=dtype)


def _autoencoder(*, network: dict[str, Any], dtype: DTypeLike, **rest: Any) -> Autoencoder:
    del rest
    return Autoencoder(**network, dtype=dtype)


NETWORKS = {"autoencoder": _autoencoder, "unet": _unet, "video_unet": _video_unet}


def build_network(model: ConfigDict, dtype: DTypeLike) -> nn.Module:
    """Return the module of `config.model`.

    Raises:
        InputError: for an unknown kind or field.
    """
    return from_table(NETWORKS, model, "model", dtype=dtype)
