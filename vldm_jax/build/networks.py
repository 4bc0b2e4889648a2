"""config.model and weights files -> modules and parameters.

A weights file describes itself (kind, fields of the module), so a stage that stands on another one
names only its file: the autoencoder is built from what its file says, and a backbone is checked
against the network that the config asks for.
"""

import dataclasses
from typing import Any

import flax.linen as nn
from ml_collections import ConfigDict

from vldm_jax.build.table import from_table
from vldm_jax.checkpoint.weights import load_weights
from vldm_jax.core.files import sha256
from vldm_jax.interop.weights import find
from vldm_jax.models.autoencoder import Autoencoder
from vldm_jax.models.table import temporal_of
from vldm_jax.models.unet import UNet
from vldm_jax.models.video_unet import VideoUNet
from vldm_jax.typing import DTypeLike, PyTree


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


@dataclasses.dataclass(frozen=True, eq=False)
class Loaded:
    """A weights file in memory.

    Attributes:
        path: as the config names it.
        sha256: of the file.
        params: nested dict of NumPy arrays.
        meta: what the file says of itself: kind, config and more.
    """

    path: str
    sha256: str
    params: PyTree
    meta: dict[str, Any]


def build_network(model: ConfigDict, dtype: DTypeLike) -> nn.Module:
    """Return the module of `config.model`.

    Raises:
        InputError: for an unknown kind or field.
    """
    return from_table(NETWORKS, model, "model", dtype=dtype)


def load(path: str | None, kind: str, flag: str) -> Loaded:
    """Read a weights file of one kind, as `find`."""
    file, meta = find(path, kind, flag)
    return Loaded(str(path), sha256(file), load_weights(file)[0], meta)
