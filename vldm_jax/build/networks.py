"""config.model and weights files -> modules and parameters.

A weights file describes itself (kind, fields of the module), so a stage that stands on another one
names only its file: the autoencoder is built from what its file says, and a backbone is checked
against the network that the config asks for.
"""

import dataclasses
from pathlib import Path
from typing import Any

import flax.linen as nn
from ml_collections import ConfigDict

from vldm_jax.build.table import from_table
from vldm_jax.checkpoint.weights import WEIGHTS, load_weights, read_meta
from vldm_jax.core.assets import resolve
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import sha256
from vldm_jax.models.autoencoder import Autoencoder
from vldm_jax.models.table import temporal_of
from vldm_jax.models.unet import UNet
from vldm_jax.typing import DTypeLike, PyTree


def _unet(*, network: dict[str, Any], dtype: DTypeLike, **rest: Any) -> UNet:
    del rest  # the files that a stage starts from
    return UNet(**network, dtype=dtype)


def _video_unet(
    *, network: dict[str, Any], temporal: dict[str, Any], dtype: DTypeLike, **rest: Any
) -> UNet:
    del rest
    return UNet(**network, temporal=temporal_of(temporal), dtype=dtype)


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


def find(path: str | None, kind: str, flag: str) -> tuple[Path, dict[str, Any]]:
    """Return a weights file of one kind and what it says of itself; its arrays are not read.

    Args:
        path: file, or "asset:NAME"; a stage's workdir means its exported file.
        kind: what it must hold.
        flag: what the user named it with, for messages: "--config.model.backbone".

    Raises:
        InputError: if it is not given, missing, unreadable or of another kind.
    """
    if not path:
        raise InputError(f"{flag[2:]} is not set: give {kind} weights, {flag}=FILE")
    file = resolve(path)
    if file.is_dir():
        if not (file / WEIGHTS).is_file():
            raise InputError(
                f"{flag}: the folder {path} holds no {WEIGHTS}; a public checkpoint must come in "
                "first, with vldm convert import"
            )
        file = file / WEIGHTS
    meta = read_meta(file)
    if meta["kind"] != kind:
        raise InputError(f"{flag}: {path} holds weights of kind {meta['kind']!r}, not {kind!r}")
    return file, meta


def load(path: str | None, kind: str, flag: str) -> Loaded:
    """Read a weights file of one kind, as `find`."""
    file, meta = find(path, kind, flag)
    return Loaded(str(path), sha256(file), load_weights(file)[0], meta)
