"""Kinds of networks: from what a weights file says to a module, and back.

A weights file names a kind and the module's fields as JSON values; that is enough to build the
module and to know the shape of each of its parameters. Temporal layers are stored alone, under the
kind "temporal", with the fields of the video U-Net that they belong to.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vldm_jax.core import paths
from vldm_jax.core.conditioning import Conditioning
from vldm_jax.core.errors import InputError
from vldm_jax.models.autoencoder import Autoencoder
from vldm_jax.models.text import TextEncoder
from vldm_jax.models.unet import UNet, UNetSkeleton
from vldm_jax.models.unet_blocks import TemporalLayers
from vldm_jax.models.video_unet import VideoUNet
from vldm_jax.nn.motion import MotionSpec
from vldm_jax.nn.temporal import TemporalSpec
from vldm_jax.typing import DTypeLike, Key, PyTree

TEMPORAL = "temporal"
KINDS = {
    "unet": UNet,
    "video_unet": VideoUNet,
    "autoencoder": Autoencoder,
    "text_encoder": TextEncoder,
}
FAMILIES = {"video_ldm": TemporalSpec, "animatediff": MotionSpec}


def module_of(kind: str, fields: Mapping[str, Any], dtype: DTypeLike) -> nn.Module:
    """Return the module of a kind with these fields.

    Args:
        kind: a key of `KINDS`, or "temporal" for the video U-Net that the layers belong to.
        fields: JSON values, as `fields_of` makes them.
        dtype: compute type.

    Raises:
        InputError: if the kind or the temporal family is unknown or has no such field.
    """
    kind = "video_unet" if kind == TEMPORAL else kind
    if kind not in KINDS:
        raise InputError(f"unknown kind of network {kind!r}; there are {', '.join(KINDS)}")
    _check_known(KINDS[kind], fields, f"a network of kind {kind!r}")
    values = {name: _tuples(value) for name, value in fields.items()}
    if TEMPORAL in values:
        values[TEMPORAL] = temporal_of(values[TEMPORAL])
    return KINDS[kind](**values, dtype=dtype)


def temporal_of(fields: Mapping[str, Any]) -> TemporalLayers:
    """Return the spec of temporal layers with these fields.

    Args:
        fields: those of the family that stands under "family", a key of `FAMILIES`; "video_ldm" if
            it is absent, as in files from before there were others.

    Raises:
        InputError: if the family is unknown or has no such field.
    """
    values = {"family": "video_ldm", **fields}
    family = values.pop("family")
    if family not in FAMILIES:
        raise InputError(f"unknown temporal family {family!r}; there are {', '.join(FAMILIES)}")
    _check_known(FAMILIES[family], values, f"a temporal layer of family {family!r}")
    return FAMILIES[family](**values)


def fields_of(module: nn.Module) -> dict[str, Any]:
    """Return a module's hyper-parameters as JSON values, for a weights file."""
    fields = {}
    for field in dataclasses.fields(module):
        value = getattr(module, field.name)
        if field.name in ("dtype", "parent", "name"):
            continue
        fields[field.name] = value
    if TEMPORAL in fields:
        spec = fields[TEMPORAL]
        family = next(name for name, kind in FAMILIES.items() if kind is type(spec))
        fields[TEMPORAL] = {"family": family, **dataclasses.asdict(spec)}
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
        class_labels=None if module.num_classes is None else shape((1,), dtype=jnp.int32),
        added_time_ids=shape((1, module.added_time_ids)) if module.added_time_ids else None,
    )
    return shape(latent), shape((1,)), cond


def smallest_inputs(module: nn.Module, channels: int) -> tuple[Any, ...]:
    """Return the shapes of the smallest inputs that a network takes; its parameters need no more.

    Args:
        module: of any kind.
        channels: of the input of a U-Net; its fields don't tell.
    """
    shape = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.float32)
    if isinstance(module, TextEncoder):
        return (shape((1, 1), dtype=jnp.int32),)
    if isinstance(module, Autoencoder):
        frames = (1,) if module.temporal_decoder else ()
        return (shape((1, *frames, module.factor, module.factor, module.in_channels)),)
    frames = ()
    if isinstance(module, VideoUNet):
        per_frame = isinstance(module.temporal, TemporalSpec) and module.temporal.num_frames
        frames = (per_frame or 1,)
    side = 2 ** (len(module.channels) - 1)
    text = None if module.context_dim is None else (1, module.context_dim)
    return example_inputs(module, (1, *frames, side, side, channels), text)


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


def _check_known(kind: type, fields: Mapping[str, Any], what: str) -> None:
    known = {field.name for field in dataclasses.fields(kind)}
    if unknown := sorted(fields.keys() - known):
        raise InputError(f"{what} has no field {unknown[0]!r}")


def _tuples(value: Any) -> Any:
    """JSON has lists where a module's fields, which must be hashable, are tuples."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value


def _init(module: nn.Module, key: Key, inputs: tuple[Any, ...]) -> PyTree:
    zeros = jax.tree.map(lambda struct: jnp.zeros(struct.shape, struct.dtype), inputs)
    mode = {"train": False} if isinstance(module, UNetSkeleton) else {}
    return module.init(key, *zeros, **mode)["params"]
