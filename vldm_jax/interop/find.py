"""Find the networks of a checkpoint: kind, module, and where each parameter is; nothing is read.

A path may be a file, a folder with config.json, a pipeline with model_index.json, or one of our
weights files. What is found knows its module, and its parameters are tensors that are not read yet:
it has shapes and cannot be called. `load.read` reads it.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from vldm_jax.checkpoint.weights import METADATA_KEY, WEIGHTS, read_meta
from vldm_jax.core import paths
from vldm_jax.core.assets import resolve
from vldm_jax.core.errors import InputError
from vldm_jax.interop.files.archives import Archive, open_archive
from vldm_jax.interop.files.pickles import SUFFIXES as PICKLES
from vldm_jax.interop.files.tensors import Tensor, reason
from vldm_jax.interop.layouts import detect, names, original
from vldm_jax.interop.layouts.formats import FORMATS, Format
from vldm_jax.interop.scheduler import diffusion_of
from vldm_jax.interop.settings import check_config, read_config
from vldm_jax.models import table
from vldm_jax.models.network import CLASSES, Network
from vldm_jax.typing import DTypeLike

PARTS = ("unet", "vae", "text_encoder", "motion_adapter")  # sub-folders that hold networks
_STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")


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
    if (root / "model_index.json").is_file():
        if ema:
            raise original.no_average(str(root))
        folders = [root / name for name in PARTS if (root / name).is_dir()]
        if not folders:
            raise InputError(f"{root} has none of the sub-folders {', '.join(PARTS)}")
        chosen = _chosen(root, {folder.name: folder for folder in folders}, part)
        return {
            name: _one(open_archive(weights_file(folder)), fields, compute)
            for name, folder in chosen.items()
        }
    archive = open_archive(weights_file(root) if root.is_dir() else root)
    if METADATA_KEY not in archive.metadata:
        parts = detect.split(archive.path, archive.tensors, ema=ema)
        if parts:
            return {
                name: _foreign(archive.path, tensors, None, fields, compute)
                for name, tensors in _chosen(root, parts, part).items()
            }
    if ema:
        raise original.no_average(archive.path)
    found = _one(archive, fields, compute)
    return _chosen(root, {found.kind: found}, part)


def _chosen(root: Path, parts: dict[str, Any], part: str | None) -> dict[str, Any]:
    """Return the parts, or the one that is asked for, by its name or as "autoencoder"."""
    if part is None:
        return parts
    part = "vae" if part == "autoencoder" and part not in parts else part
    if part not in parts:
        raise InputError(f"{root} has no part {part!r}; it has {', '.join(parts)}")
    return {part: parts[part]}


def _one(archive: Archive, corrected: Mapping[str, Any] | None, compute: DTypeLike) -> Network:
    """Find the network in a file that holds only one."""
    file = Path(archive.path)
    if METADATA_KEY in archive.metadata:
        return _ours(file, archive, compute)
    beside = file.parent / "config.json"
    given = read_config(beside) if beside.is_file() else None
    found = _foreign(archive.path, archive.tensors, given, corrected, compute)
    diffusion = diffusion_of(file.parent.parent) if found.kind == "unet" else None
    meta = found.meta if diffusion is None else found.meta | {"diffusion": diffusion}
    return dataclasses.replace(found, meta=meta)


def weights_file(folder: Path) -> Path:
    """Return the one file of weights, or the index of several, in a folder.

    Raises:
        InputError: if there is none, or it is not clear which.
    """
    for name in (WEIGHTS, *(f"{stem}.safetensors" for stem in _STEMS)):
        if (folder / name).is_file():
            return folder / name
    for pattern in ("*.safetensors.index*.json", "*.safetensors", *(f"*{end}" for end in PICKLES)):
        files = sorted(folder.glob(pattern))
        if len(files) > 1:
            raise InputError(f"{folder} holds several files, {files[0].name} and more: name one")
        if files:
            return files[0]
    raise InputError(f"{folder} holds no weights: no .safetensors and no model_index.json")


def _ours(file: Path, archive: Archive, compute: DTypeLike) -> Network:
    meta = read_meta(file)
    with _told_by(archive.path, settings=True):
        module = table.module_of(meta["kind"], meta["config"], compute)
        channels = _input_channels(archive.tensors.get("conv_in/kernel"), 2, module)
        expected = _expected(meta["kind"], module, channels)
    tensors = names.check_own(archive.path, archive.tensors, expected)
    rest = {name: value for name, value in meta.items() if name not in ("kind", "config")}
    return _unread(meta["kind"], module, tensors, archive.path, rest)


def _foreign(
    file: str,
    tensors: Mapping[str, Tensor],
    given: Mapping[str, Any] | None,
    corrected: Mapping[str, Any] | None,
    compute: DTypeLike,
) -> Network:
    name, named = detect.identify(file, tensors)
    form = FORMATS[name]
    parameters = form.parameters(named)
    beside = str(Path(file).parent / "config.json")
    settings = given is not None or bool(corrected)
    with _told_by(file if given is None else beside, file, settings=settings):
        fields = form.fields(named, given)
        whole = fields | _overrides(corrected or {}, fields)
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
    ours = names.gather(file, parameters, expected, form.key_of)
    return _unread(form.kind, module, ours, file, meta)


def _unread(
    kind: str, module: nn.Module, tensors: Mapping[str, Tensor], source: str, meta: dict[str, Any]
) -> Network:
    return CLASSES[kind](
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


@contextlib.contextmanager
def _told_by(where: str, *also: str, settings: bool) -> Iterator[None]:
    """Turn what goes wrong in building a network into an error of the settings that it is from.

    Args:
        where: what the settings are from.
        *also: a message that names one of these says where by itself.
        settings: whether there are any but shapes. Only these, JSON of any type and size, can
            break a module in ways that it does not check; all else is our fault and stays as it is.
    """
    try:
        yield
    except InputError as error:
        if any(name in str(error) for name in (where, *also)):
            raise
        raise InputError(f"{where}: {error}") from error
    except (TypeError, ValueError, AttributeError, ArithmeticError) as error:
        if not settings:
            raise
        raise InputError(
            f"{where} describes no network of its weights ({reason(error)})"
        ) from error


def _overrides(corrected: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that replace what was found; of heads and their width, the one given."""
    either = {"heads": "head_dim", "head_dim": "heads"}
    other = {either[name]: None for name in corrected if either.get(name) in fields}
    inner = {
        name: fields[name] | value
        for name, value in corrected.items()
        if isinstance(value, Mapping) and isinstance(fields.get(name), Mapping)
    }
    return other | dict(corrected) | inner


@functools.lru_cache  # to trace a network takes longer than to read a small one
def _expected(kind: str, module: nn.Module, channels: int) -> dict[str, Any]:
    """Return {path: shape struct} of the parameters that a file of this kind holds."""
    inputs = table.smallest_inputs(module, channels)
    expected = paths.flatten(table.abstract_params(module, *inputs))
    if kind == table.TEMPORAL:
        return {path: leaf for path, leaf in expected.items() if table.TEMPORAL in path}
    return expected


def _input_channels(conv_in: Tensor | None, axis: int, module: nn.Module) -> int:
    """Return the channels of the input: a U-Net's are seen in its first kernel only."""
    if conv_in is not None and len(conv_in.shape) == 4:
        return conv_in.shape[axis]
    return getattr(module, "in_channels", 0) or getattr(module, "out_channels", 0)
