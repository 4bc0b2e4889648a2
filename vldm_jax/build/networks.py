"""config.model and weights files -> modules and parameters.

A weights file describes itself (kind, fields of the module), so a stage that stands on another one
names only its file: the autoencoder is built from what its file says, and a backbone is checked
against the network that the config asks for.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from vldm_jax.build.table import from_table
from vldm_jax.checkpoint.weights import load_weights, read_meta
from vldm_jax.core import paths
from vldm_jax.core.assets import resolve
from vldm_jax.core.conditioning import Conditioning
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import sha256
from vldm_jax.models.autoencoder import Autoencoder
from vldm_jax.models.unet import UNet, UNetSkeleton
from vldm_jax.models.video_unet import VideoUNet
from vldm_jax.nn.temporal import TemporalSpec
from vldm_jax.typing import DTypeLike, Key, PyTree

TEMPORAL = "temporal"
WEIGHTS = "weights.safetensors"  # what a stage leaves in its workdir


def _unet(*, network: dict[str, Any], dtype: DTypeLike, **rest: Any) -> UNet:
    del rest  # the files that a stage starts from
    return UNet(**network, dtype=dtype)


def _video_unet(
    *, network: dict[str, Any], temporal: dict[str, Any], dtype: DTypeLike, **rest: Any
) -> VideoUNet:
    del rest
    return VideoUNet(**network, temporal=TemporalSpec(**temporal), dtype=dtype)


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
        file = resolve(str(file / WEIGHTS))
    meta = read_meta(file)
    if meta["kind"] != kind:
        raise InputError(f"{flag}: {path} holds weights of kind {meta['kind']!r}, not {kind!r}")
    return file, meta


def load(path: str | None, kind: str, flag: str) -> Loaded:
    """Read a weights file of one kind, as `find`."""
    file, meta = find(path, kind, flag)
    return Loaded(str(path), sha256(file), load_weights(file)[0], meta)


def autoencoder_of(meta: Mapping[str, Any], dtype: DTypeLike) -> Autoencoder:
    """Return the module that an autoencoder's file describes."""
    fields = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in meta["config"].items()
    }
    return Autoencoder(**fields, dtype=dtype)


def fields_of(module: nn.Module) -> dict[str, Any]:
    """Return a module's hyper-parameters as JSON values, for a weights file."""
    fields = {}
    for field in dataclasses.fields(module):
        value = getattr(module, field.name)
        if field.name in ("dtype", "parent", "name"):
            continue
        fields[field.name] = dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value
    return fields


def example_inputs(
    module: nn.Module, latent: tuple[int, ...], text: tuple[int, int] | None
) -> tuple[Any, ...]:
    """Return the shapes of what a denoising network is called with.

    Args:
        module: UNet or VideoUNet.
        latent: shape (1 [t] h w c) of z.
        text: (tokens, width) of its text, None if it takes none.
    """
    shape = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.float32)
    cond = Conditioning(
        context=None if text is None else shape((1, *text)),
        labels=shape((1, len(module.label_tokens))) if module.label_tokens else None,
    )
    return shape(latent), shape((1,)), cond


def init_params(
    module: nn.Module, key: Key, *inputs: Any, keep: Callable[[str], bool] = lambda path: True
) -> PyTree:
    """Return freshly initialised parameters of the paths that `keep` accepts.

    What is not kept is never computed: a frozen backbone costs nothing to leave out.

    Args:
        module: the network.
        key: random key.
        *inputs: shapes of its inputs.
        keep: path -> whether to make this parameter.
    """

    def init(key: Key) -> dict[str, jax.Array]:
        flat = paths.flatten(_init(module, key, inputs))
        return {path: leaf for path, leaf in flat.items() if keep(path)}

    return paths.unflatten(jax.jit(init)(key))


def abstract_params(module: nn.Module, *inputs: Any) -> PyTree:
    """Return shapes and types of a module's parameters; nothing is computed, no device touched.

    Args:
        module: the network.
        *inputs: shapes of its inputs.

    Raises:
        InputError: if the fields of the module do not fit together.
    """
    return jax.eval_shape(lambda: _init(module, jax.random.key(0), inputs))


def spatial_part(tree: PyTree) -> PyTree:
    """Return what a video network shares with its image network."""
    flat = paths.flatten(tree)
    return paths.unflatten({path: leaf for path, leaf in flat.items() if TEMPORAL not in path})


def temporal_part(tree: PyTree) -> PyTree:
    """Return the temporal layers of a video network."""
    flat = paths.flatten(tree)
    return paths.unflatten({path: leaf for path, leaf in flat.items() if TEMPORAL in path})


def _init(module: nn.Module, key: Key, inputs: tuple[Any, ...]) -> PyTree:
    zeros = jax.tree.map(lambda struct: jnp.zeros(struct.shape, struct.dtype), inputs)
    mode = {"train": False} if isinstance(module, UNetSkeleton) else {}
    return module.init(key, *zeros, **mode)["params"]
