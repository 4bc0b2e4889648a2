"""Weights files: safetensors that say what they are.

    arrays    flat names "down_blocks_0/resnets_0/conv1/kernel", as in the Linen tree
    metadata  key "vldm": JSON {"kind": "unet", "config": {module fields}, "steps": ..., ...}

`kind` and `config` are enough to build the module that the arrays belong to. A file of temporal
layers also carries the backbone's name and SHA-256, since they mean nothing without it. Nothing is
ever unpickled.
"""

import json
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import atomic_path
from vldm_jax.core.json_files import MAX_DEPTH, parse_json
from vldm_jax.core.pointers import refuse_pointer
from vldm_jax.typing import PyTree

METADATA_KEY = "vldm"
WEIGHTS = "weights.safetensors"  # what a stage leaves in its workdir
LARGEST_HEADER = 32 << 20  # of safetensors; the largest public ones have less than 1 MB
DTYPES = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16, "float16": np.float16}


def save_weights(
    path: str | os.PathLike[str],
    params: PyTree,
    meta: Mapping[str, Any],
    *,
    dtype: str | None = None,
) -> None:
    """Write a parameter tree and its description, whole or not at all.

    Args:
        path: file to write, usually *.safetensors.
        params: nested dict of arrays.
        meta: JSON values with at least "kind" and "config".
        dtype: "float32", "bfloat16" or "float16" to cast floating arrays to; None keeps theirs.

    Raises:
        InputError: if the dtype is unknown or does not hold a value.
        ValueError: if `meta` lacks "kind" or "config".
    """
    if missing := {"kind", "config"} - set(meta):
        raise ValueError(f"the description of {path} lacks {sorted(missing)}")
    flat = paths.flatten(jax.device_get(params))
    arrays = {name: cast(path, name, array, dtype) for name, array in flat.items()}
    with atomic_path(path) as temporary:
        save_arrays(temporary, arrays, {METADATA_KEY: json.dumps(dict(meta))})


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file that has the permissions of any new file.

    Raises:
        OSError: if the disk does not take it.
    """
    path.touch()
    mode = path.stat().st_mode  # what the umask says; safetensors would make it private
    try:
        save_file(dict(arrays), path, metadata=dict(metadata))
    except SafetensorError as error:  # a full disk, which is no fault of the input
        raise OSError(f"cannot write {path}: {error}") from error
    path.chmod(mode)


def load_weights(
    path: str | os.PathLike[str],
    *,
    dtype: str | None = None,
    names: Collection[str] | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (nested dict of NumPy arrays, description) of a weights file.

    Args:
        path: a file from `save_weights`.
        dtype: what to cast floating arrays to; None keeps the file's.
        names: of the arrays to read; None for all.

    Raises:
        InputError: if the file is missing, truncated, contradicts itself or is not one of ours.
    """
    meta = read_meta(path)
    with safe_open(path, framework="numpy") as file:
        wanted = file.keys() if names is None else names
        _check_names(path, wanted)
        flat = {name: cast(path, name, _get(path, file, name), dtype) for name in wanted}
    return paths.unflatten(flat), meta


def _check_names(path: Any, names: Iterable[str]) -> None:
    """Raise if the names of a file's arrays are not the paths of one tree."""
    known = set(names)
    for name in known:
        parts = name.split("/")
        folders = {"/".join(parts[:depth]) for depth in range(1, len(parts))}
        if len(parts) > MAX_DEPTH or not all(parts) or folders & known:
            raise InputError(f"{path}: {name[:80]!r} is no path of an array in a tree of layers")


def _get(path: Any, file: Any, name: str) -> np.ndarray:
    try:
        return file.get_tensor(name)
    except (SafetensorError, ValueError, TypeError) as error:
        raise InputError(f"{path}: the array {name[:80]!r} cannot be read ({error})") from error


def is_weights(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is whole safetensors with a description of this project."""
    try:
        with safe_open(path, framework="numpy") as file:
            return METADATA_KEY in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def read_header(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the header of a safetensors file whose size was checked: where each array is.

    Raises:
        InputError: if it is no JSON object.
    """
    with Path(path).open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        return parse_json(file.read(min(size, LARGEST_HEADER)), path, "a header of safetensors")


def read_meta(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the description of a weights file, without reading its arrays.

    Raises:
        InputError: as `load_weights`.
    """
    if not Path(path).is_file():
        raise InputError(f"there is no weights file {path}")
    refuse_pointer(Path(path))
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata()
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path} is no whole safetensors file ({error}): fetch or write it again"
        ) from error
    if not metadata or METADATA_KEY not in metadata:
        raise InputError(
            f"{path} is a safetensors file without a {METADATA_KEY!r} description, so not one of "
            "this project's: bring a public checkpoint in with vldm convert import"
        )
    meta = parse_json(metadata[METADATA_KEY], path, f"a weights file with its {METADATA_KEY!r}")
    if not isinstance(meta.get("kind"), str) or not isinstance(meta.get("config"), dict):
        raise InputError(f"the description in {path} lacks its 'kind' or 'config'")
    _check_entries(path, meta)
    return meta


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int for item in value)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_file(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(name), str) for name in ("name", "sha256")
    )


def _is_table_of_names(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_names, value.values()))


def _is_table(value: Any) -> bool:
    return isinstance(value, dict)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


# What others read of a description, where it has it.
_ENTRIES = {
    "backbone": (_is_file, "a table with 'name' and 'sha256'"),
    "unknown": (_is_table_of_names, "a table of lists of names"),
    "columns": (_is_table_of_names, "a table of lists of names"),
    "same_latents_as": (_is_names, "a list of hashes"),
    "latents": (_is_text, "a text"),
    "autoencoder_sha256": (_is_text, "a text"),
    "diffusion": (_is_table, "a table"),
    "image_model": (_is_table, "a table"),
    "settings": (_is_table, "a table"),
    "size": (lambda value: _is_numbers(value) and len(value) == 2, "[height, width]"),
    "num_frames": (lambda value: type(value) is int, "a whole number"),
    "steps": (lambda value: type(value) is int, "a whole number"),
}


def _check_entries(path: Any, meta: Mapping[str, Any]) -> None:
    """Raise if an entry of a description is not what its name says."""
    for name, (fits, what) in _ENTRIES.items():
        if name in meta and not fits(meta[name]):
            raise InputError(
                f"the description in {path} is damaged: {name} = {str(meta[name])[:80]!r} is not "
                f"{what}: fetch or write the file again"
            )
    scale = meta["config"].get("latent_scale", 1.0)
    if type(scale) not in (int, float):
        raise InputError(
            f"the description in {path} is damaged: latent_scale = {str(scale)[:80]!r} is no "
            "number: fetch or write the file again"
        )


def check_backbone(
    path: str | os.PathLike[str], meta: Mapping[str, Any], backbone: str, digest: str
) -> None:
    """Raise if temporal layers were trained on another backbone than `backbone` of this SHA-256.

    Raises:
        InputError: naming both files.
    """
    if "backbone" not in meta:
        raise InputError(
            f"{path} does not say which backbone its layers stand on: say so with vldm convert "
            f"import {path} --onto {backbone} --out DIR, and take the file that it writes"
        )
    recorded = meta["backbone"]
    if digest != recorded["sha256"]:
        raise InputError(
            f"{path} stands on the backbone {recorded['name']} "
            f"(sha256 {recorded['sha256'][:12]}...), which is not {backbone}: give that one, "
            f"--config.model.backbone=FILE, or move the layers to this one, vldm convert import "
            f"{path} --onto {backbone} --out DIR"
        )


def cast(where: Any, name: str, array: Any, dtype: str | None) -> np.ndarray:
    """Return an array in one piece, of another floating type if asked; integers stay what they are.

    Args:
        where: the file, for messages.
        name: of the array, for messages.
        array: of any type.
        dtype: "float32", "bfloat16", "float16", or None.

    Raises:
        InputError: if the type is unknown or does not hold a value.
    """
    array = np.asarray(array)
    floating = np.issubdtype(array.dtype, np.floating) or array.dtype == ml_dtypes.bfloat16
    if dtype is None or not floating:
        return np.asarray(array, order="C")
    if dtype not in DTYPES:
        raise InputError(f"{dtype=} for {where}: choose one of {tuple(DTYPES)}")
    with np.errstate(over="ignore"):
        result = array.astype(DTYPES[dtype], order="C", copy=False)
    if (np.isfinite(array) & ~np.isfinite(result)).any():
        raise InputError(f"{name!r} in {where} has values too large for {dtype}: use bfloat16")
    return result
