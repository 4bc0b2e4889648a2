"""Files of tensors, opened but not read: safetensors, alone or several with an index; PyTorch's.

Nothing is ever unpickled freely: safetensors have no code, and a PyTorch file goes through
PyTorch's weights-only loader, which refuses everything but tensors.
"""

import dataclasses
import functools
import math
import re
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from vldm_jax.checkpoint.weights import LARGEST_HEADER, read_header
from vldm_jax.core.errors import InputError
from vldm_jax.core.json_files import read_json
from vldm_jax.core.pointers import refuse_pointer
from vldm_jax.interop.files import pickles
from vldm_jax.interop.files.tensors import Index, Tensor, reason

_INDEX = re.compile(r".*\.safetensors\.index(\.\w+)?\.json")  # one with a variant's name, too
MOST_AXES = 16
_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


@dataclasses.dataclass(frozen=True)
class Archive:
    """The tensors of one checkpoint, which may be spread over several files.

    Attributes:
        path: what the user named, for messages.
        tensors: by their names in the files.
        metadata: text that a safetensors file carries beside its arrays.
    """

    path: str
    tensors: dict[str, Tensor]
    metadata: dict[str, str]


def open_archive(path: Path) -> Archive:
    """Open a file of tensors, or the index of several.

    Args:
        path: *.safetensors, *.safetensors.index.json, or a PyTorch file.

    Raises:
        InputError: if it is missing, damaged, contradicts itself or holds more than tensors.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}; give a checkpoint's file or folder")
    refuse_pointer(path)
    if _INDEX.fullmatch(path.name):
        return _open_index(path)
    if path.suffix in pickles.SUFFIXES and not _is_safetensors(path):
        return Archive(str(path), pickles.read_pickle(path), {})
    if path.suffix not in (".safetensors", *pickles.SUFFIXES):
        raise InputError(
            f"{path} is no checkpoint: expected .safetensors, .safetensors.index.json or one of "
            f"{', '.join(pickles.SUFFIXES)}"
        )
    return _open_safetensors(path)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file can have
        return False


def _is_safetensors(path: Path) -> bool:
    """Return whether a file is safetensors under a pickle's name: a length, then a JSON object."""
    with path.open("rb") as file:
        size, start = int.from_bytes(file.read(8), "little"), file.read(1)
    return start == b"{" and 8 + size <= path.stat().st_size


def _open_safetensors(path: Path) -> Archive:
    with path.open("rb") as file:
        start = file.read(8)
    header_size = int.from_bytes(start, "little")
    try:
        if LARGEST_HEADER < header_size <= path.stat().st_size:
            raise SafetensorError(f"header too large, {header_size} bytes")
        with safe_open(path, framework="numpy") as checked:  # proves that header and size fit
            metadata = checked.metadata() or {}
    except (SafetensorError, OSError) as error:
        # Asked only now: the size of an honest header may start with the same two bytes.
        if start.startswith(pickles.STARTS):
            raise InputError(
                f"{path} is a pickle (a PyTorch file), not safetensors: it is not read under "
                "this name; if you trust it, name it .ckpt and install torch"
            ) from error
        raise InputError(
            f"{path} is no whole safetensors file ({reason(error)}{_contradiction(path)}): "
            "fetch or write it again"
        ) from error
    header = read_header(path)
    header.pop("__metadata__", None)
    tensors = {
        key: _mapped(path, key, entry, 8 + header_size) for key, entry in sorted(header.items())
    }
    return Archive(str(path), tensors, metadata)


def _contradiction(path: Path) -> str:
    """Return ", see KEY" of the first tensor whose shape, type and offsets do not agree.

    The library only says that there is one.
    """
    try:
        for key, entry in read_header(path).items():
            if key != "__metadata__" and entry["dtype"] in _DTYPES:
                start, end = entry["data_offsets"]
                itemsize = np.dtype(_DTYPES[entry["dtype"]]).itemsize
                if end - start != math.prod(entry["shape"]) * itemsize:
                    return f", see {key!r}"
    except (ValueError, TypeError, KeyError, AttributeError):
        pass  # no header at all, which the library has said
    return ""


def _mapped(path: Path, key: str, entry: dict[str, Any], data: int) -> Tensor:
    if entry["dtype"] not in _DTYPES:
        raise InputError(f"{path}: {key!r} has the type {entry['dtype']}, which cannot be read")
    dtype, shape = np.dtype(_DTYPES[entry["dtype"]]), tuple(entry["shape"])
    offset = data + entry["data_offsets"][0]
    if len(shape) > MOST_AXES:
        raise InputError(f"{path}: {key!r} has {len(shape)} axes, weights have at most {MOST_AXES}")
    read = functools.partial(_read_file, path, shape, dtype, offset)
    return Tensor(str(path), key, shape, dtype, read)


def _read_file(
    path: Path, shape: tuple[int, ...], dtype: np.dtype, offset: int, index: Index
) -> np.ndarray:
    if 0 in shape:
        return np.empty(shape, dtype)[index]
    if not shape:
        return np.fromfile(path, dtype, 1, offset=offset).reshape(())
    # A map a read: what it touched leaves memory with it.
    return np.memmap(path, dtype, "r", offset, shape)[index]


def _open_index(path: Path) -> Archive:
    what = "an index of safetensors files"
    table = read_json(path, what).get("weight_map")
    if not isinstance(table, dict) or not all(isinstance(name, str) for name in table.values()):
        raise InputError(f"{path}: not {what} (it has no 'weight_map'): get the file again")
    files = {name: path.parent / name for name in sorted(set(table.values()))}
    if not files:
        raise InputError(f"{path} lists no tensors")
    for name, file in files.items():
        if Path(name).name != name or file.suffix != ".safetensors" or not _is_file(file):
            raise InputError(f"{path} names {name!r}, which is no .safetensors file beside it")
    shards = {name: _open_safetensors(file) for name, file in files.items()}
    tensors = {}
    for key, name in sorted(table.items()):
        if key not in shards[name].tensors:
            raise InputError(f"{path} says that {key!r} is in {name}, which has no such tensor")
        tensors[key] = shards[name].tensors[key]
    for name, shard in shards.items():
        if extra := sorted(shard.tensors.keys() - table.keys()):
            raise InputError(f"{files[name]} holds {extra[0]!r}, which {path.name} does not list")
    return Archive(str(path), tensors, {})
