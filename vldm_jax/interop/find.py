"""Find the networks of a checkpoint: kind, module, and where each parameter is; nothing is read.

A path may be a file, a folder with config.json, a pipeline with model_index.json, or one of our
weights files. What is found knows its module, and its parameters are tensors that are not read yet:
it has shapes and cannot be called. `load.read` reads it.
"""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from vldm_jax.checkpoint.weights import METADATA_KEY, read_meta
from vldm_jax.core import paths
from vldm_jax.core.assets import resolve
from vldm_jax.core.errors import InputError
from vldm_jax.interop.files.archives import Archive, open_archive
from vldm_jax.interop.files.tensors import Tensor
from vldm_jax.interop.folders import part_folders, weights_file
from vldm_jax.interop.layouts import detect, markers, names, original, wrappers
from vldm_jax.interop.layouts.formats import FORMATS, Format
from vldm_jax.interop.scheduler import diffusion_of
from vldm_jax.interop.settings import check_config, check_sizes, overrides, read_config, told_by
from vldm_jax.models import table
from vldm_jax.models.network import Network, class_of
from vldm_jax.typing import DTypeLike


def find(
    path: str,
    *,
    part: str | None = None,
    fields: Mapping[str, Any] | None = None,
    ema: bool = False,
    compute: DTypeLike = jnp.float32,
) -> dict[str, Network]:
    """Return the networks at `path` by their names in a pipeline, or as the only one by its kind.

    Args:
        path: file or folder, or "asset:NAME".
        part: the only network to look at; None for all.
        fields: of the module, which the checkpoint doesn't tell, or tells wrongly.
        ema: of a single file with both, the moving average of the U-Net; nothing else has one.
        compute: type that the modules compute in.

    Raises:
        InputError: naming file and key, if anything is missing, unknown or does not fit.
    """
    root = resolve(path)
    if folders := part_folders(root, ema=ema):
        chosen = _chosen(root, folders, part, fields)
        files = {name: weights_file(folder) for name, folder in chosen.items()}
        return {name: _alone(_open(file), fields, compute) for name, file in files.items()}
    archive = _open(weights_file(root) if root.is_dir() else root)
    parts = detect.split(archive.path, markers.without(archive.tensors), part=part, ema=ema)
    if parts and METADATA_KEY not in archive.metadata:
        chosen = _chosen(root, parts, part, fields)
        return {
            name: _foreign(archive, tensors, None, fields, compute)
            for name, tensors in chosen.items()
        }
    if ema:
        raise original.no_average(archive.path)
    found = _alone(archive, fields, compute)
    return _chosen(root, {found.kind: found}, part, None)


def _open(file: Path) -> Archive:
    archive = open_archive(file)
    tensors = wrappers.unwrapped(archive.path, archive.tensors)
    return dataclasses.replace(archive, tensors=tensors)


def _chosen(
    root: Path, parts: dict[str, Any], part: str | None, fields: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the parts, or the one that is asked for, by its name or as "autoencoder"."""
    if part is None:
        if fields and len(parts) > 1:
            raise InputError(
                f"fields (--fields) are of one network, and {root} has {', '.join(parts)}: choose "
                "one with --part"
            )
        return parts
    part = "vae" if part == "autoencoder" and part not in parts else part
    if part not in parts:
        raise InputError(f"{root} has no part {part!r}; it has {', '.join(parts)}")
    return {part: parts[part]}


def _alone(archive: Archive, corrected: Mapping[str, Any] | None, compute: DTypeLike) -> Network:
    """Find the network in a file that holds only one."""
    if METADATA_KEY in archive.metadata:
        if corrected:
            raise InputError(f"{archive.path} tells all its fields: leave fields (--fields) out")
        return _ours(archive, compute)
    beside = Path(archive.path).parent / "config.json"
    given = read_config(beside) if beside.is_file() else None
    return _foreign(archive, markers.without(archive.tensors), given, corrected, compute)


def _ours(archive: Archive, compute: DTypeLike) -> Network:
    meta = read_meta(archive.path)
    check_sizes(archive.path, meta["config"], len(archive.tensors))
    with told_by(archive.path, settings=True):
        module = table.module_of(meta["kind"], meta["config"], compute)
        channels = _input_channels(archive.tensors.get("conv_in/kernel"), 2, module)
        expected = _expected(meta["kind"], module, channels)
    tensors = names.check_own(archive.path, archive.tensors, expected)
    rest = {name: value for name, value in meta.items() if name not in ("kind", "config")}
    return _unread(meta["kind"], module, tensors, archive.path, rest)


def _foreign(
    archive: Archive,
    tensors: Mapping[str, Tensor],
    given: Mapping[str, Any] | None,
    corrected: Mapping[str, Any] | None,
    compute: DTypeLike,
) -> Network:
    file = archive.path
    name, named = detect.identify(file, tensors)
    form = FORMATS[name]
    parameters = form.parameters(named)
    beside = str(Path(file).parent / "config.json")
    settings = given is not None or bool(corrected)
    with told_by(file if given is None else beside, file, settings=settings):
        fields = form.fields(named, given)
        whole = fields | overrides(corrected or {}, fields)
        module = table.module_of(form.kind, whole, compute)
        channels = _input_channels(parameters.get("conv_in.weight"), 1, module)
        expected = _expected(form.kind, module, channels)
        if given is not None:
            expressed = form.config_of(_without_overrides(module, fields), channels)
            check_config(beside, _compared(form, given), expressed)
    # Not where it lay: equal weights must make equal files, whose SHA-256 others record.
    meta: dict[str, Any] = {"imported_from": Path(file).name}
    if carried := {name: given[name] for name in form.carried if name in (given or {})}:
        meta["settings"] = carried
    if form.kind in ("unet", "video_unet"):
        meta |= _diffusion(archive, given)
    ours = names.gather(file, parameters, expected, form.key_of)
    return _unread(form.kind, module, ours, file, meta)


def _diffusion(archive: Archive, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what is said of the U-Net's diffusion, beside it in the file or by its pipeline."""
    said = markers.diffusion_of(archive.tensors, archive.metadata)
    if given is not None:  # a folder of its own, in a pipeline's
        said |= diffusion_of(Path(archive.path).parent.parent) or {}
    return {"diffusion": said} if said else {}


def _unread(
    kind: str, module: nn.Module, tensors: Mapping[str, Tensor], source: str, meta: dict[str, Any]
) -> Network:
    return class_of(kind)(
        kind=kind,
        module=None if kind == table.TEMPORAL else module,
        params=paths.unflatten(tensors),
        fields=table.fields_of(module),
        source=source,
        meta=meta,
    )


def _compared(form: Format, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a config that are about the network."""
    return {k: v for k, v in given.items() if form.settings is None or k in form.settings}


def _without_overrides(module: nn.Module, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return all fields as found, though others replaced them in the module: they need not fit.

    A field that is corrected excuses no other entry of config.json, so that is what is compared.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(module)}
    return defaults | dict(fields)


@functools.lru_cache  # to trace a network takes longer than to read a small one
def _expected(kind: str, module: nn.Module, channels: int) -> dict[str, Any]:
    """Return {path: shape struct} of the parameters that a file of this kind holds."""
    inputs = module.smallest_inputs(channels)
    expected = paths.flatten(table.abstract_params(module, *inputs))
    if kind == table.TEMPORAL:
        return {path: leaf for path, leaf in expected.items() if table.TEMPORAL in path}
    return expected


def _input_channels(conv_in: Tensor | None, axis: int, module: nn.Module) -> int:
    """Return the channels of the input: a U-Net's are seen in its first kernel only."""
    if conv_in is not None and len(conv_in.shape) == 4:
        return conv_in.shape[axis]
    return getattr(module, "in_channels", 0) or getattr(module, "out_channels", 0)
