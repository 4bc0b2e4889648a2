"""Families of networks: from what a weights file says to a module, and back.

A weights file names a kind and the module's fields as JSON values; that is enough to build the
module and to know the shape of each of its parameters. A kind is a row of `MODULES` or says how
much of a U-Net there is: "video_unet" one with temporal layers, "temporal" those layers alone, with
the fields of the video U-Net that they belong to.

A module of the table answers `smallest_inputs` and is initialised by its inputs alone.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vldm_jax.conditions.table import conditions_of
from vldm_jax.conditions.table import fields_of as condition_fields
from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.core.fields import make
from vldm_jax.models.autoencoder import Autoencoder
from vldm_jax.models.detector import Detector
from vldm_jax.models.text import TextEncoder
from vldm_jax.models.unet import UNet
from vldm_jax.nn.motion import MotionSpec
from vldm_jax.nn.stage import TemporalLayers
from vldm_jax.nn.temporal import TemporalSpec
from vldm_jax.typing import DTypeLike, Key, PyTree

MODULES = {
    "unet": UNet,
    "autoencoder": Autoencoder,
    "text_encoder": TextEncoder,
    "detector": Detector,
}
FAMILIES = {"video_ldm": TemporalSpec, "animatediff": MotionSpec}

TEMPORAL, CONDITIONS = "temporal", "more_conditions"  # fields that are objects
RUN = ("dtype", "split", "parent", "name")  # fields that say how a module is run, not what it is
VIDEO = ("video_unet", TEMPORAL)  # kinds of a U-Net with temporal layers


def module_of(kind: str, fields: Mapping[str, Any], dtype: DTypeLike) -> nn.Module:
    """Return the module of a kind with these fields.

    Args:
        kind: a key of `MODULES`, "video_unet", or "temporal" for the video U-Net that the layers
            belong to.
        fields: JSON values, as `fields_of` makes them.
        dtype: compute type.

    Raises:
        InputError: if the kind, a temporal family or a condition is unknown or has no such field.
    """
    name = "unet" if kind in VIDEO else kind
    if name not in MODULES:
        raise InputError(
            f"unknown kind of network {kind!r}; there are {', '.join((*MODULES, *VIDEO))}"
        )
    what, values = f"a network of kind {kind!r}", dict(fields)
    if kind in VIDEO:
        values[TEMPORAL] = values.get(TEMPORAL) or {}
    elif kind == "unet" and values.get(TEMPORAL) is not None:
        raise InputError(f"{what} has no temporal layers; with them its kind is 'video_unet'")
    if values.get(TEMPORAL) is not None:
        values[TEMPORAL] = temporal_of(values[TEMPORAL])
    if CONDITIONS in values:
        values[CONDITIONS] = conditions_of(values[CONDITIONS])
    return make(MODULES[name], values, what, dtype=dtype, parent=None, name=None)


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
    return make(FAMILIES[family], values, f"a temporal layer of family {family!r}")


def fields_of(module: nn.Module) -> dict[str, Any]:
    """Return a module's hyper-parameters as JSON values, for a weights file.

    A U-Net without temporal layers, or without further conditions, has no field of them.
    """
    fields = {
        field.name: getattr(module, field.name)
        for field in dataclasses.fields(module)
        if field.name not in RUN
    }
    if (spec := fields.pop(TEMPORAL, None)) is not None:
        family = next(name for name, kind in FAMILIES.items() if kind is type(spec))
        fields[TEMPORAL] = {"family": family, **dataclasses.asdict(spec)}
    if more := fields.pop(CONDITIONS, ()):
        fields[CONDITIONS] = tuple(map(condition_fields, more))
    return fields


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
    leaves, structure = jax.tree.flatten(inputs)
    tree = _abstract(module, structure, *(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in leaves))
    return jax.tree.map(lambda leaf: leaf, tree)  # the dictionaries are the caller's own


def spatial_part(tree: PyTree) -> PyTree:
    """Return what a video network shares with its image network."""
    return paths.select(tree, lambda path: TEMPORAL not in path)


def temporal_part(tree: PyTree) -> PyTree:
    """Return the temporal layers of a video network."""
    return paths.select(tree, lambda path: TEMPORAL in path)


# Tracing a full-size network takes seconds, and files, checks and stages ask for the same ones.
@functools.lru_cache(maxsize=64)
def _abstract(
    module: nn.Module, structure: jax.tree_util.PyTreeDef, *leaves: jax.ShapeDtypeStruct
) -> PyTree:
    inputs = jax.tree.unflatten(structure, leaves)
    return jax.eval_shape(lambda: _init(module, jax.random.key(0), inputs))


def _init(module: nn.Module, key: Key, inputs: tuple[Any, ...]) -> PyTree:
    zeros = jax.tree.map(lambda struct: jnp.zeros(struct.shape, struct.dtype), inputs)
    return module.init(key, *zeros)["params"]
