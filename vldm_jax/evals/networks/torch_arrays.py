"""State dicts of PyTorch as NumPy arrays, without PyTorch and without trusting them.

`torch.save` writes a pickle whose tensors name storages, which lie beside it: in a zip archive
(since 1.6), or after it in the same file (before). The unpickler resolves the few names that
rebuild a tensor and refuses every other one.
"""

import collections
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from vldm_jax.core.errors import InputError

_MAGIC = 0x1950A86A20F9469CFC6C  # of the format before 1.6
_STORAGES = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}


class _Lazy:
    """A tensor whose storage is not read yet."""

    def __init__(self, storage: tuple, offset: int, shape: tuple, strides: tuple, *rest: Any):
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def view(self, values: np.ndarray) -> np.ndarray:
        """Return the tensor of its storage's values, a copy; out of bounds is an error."""
        if min((*self.shape, *self.strides, self.offset), default=0) < 0:
            raise ValueError(f"a tensor of shape {self.shape} and strides {self.strides}")
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))
        if 0 not in self.shape and last >= len(values):
            raise ValueError(f"a tensor beyond its {len(values)} values")
        steps = tuple(s * values.itemsize for s in self.strides)
        return np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, steps).copy()


class _TensorUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Lazy
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch" and name in _STORAGES:
            return np.dtype(_STORAGES[name])
        raise InputError(f"weights file asks for {module}.{name}, which is not part of a tensor")

    def persistent_load(self, pid: Any) -> tuple:
        kind, dtype, key, _, size, *_ = pid
        if kind != "storage":
            raise pickle.UnpicklingError(f"unknown object {kind!r}")
        return dtype, key, size


def load_torch(path: str | Path) -> dict[str, np.ndarray]:
    """Return the state dict of a file that `torch.save` wrote: {name: array}, as stored.

    Raises:
        InputError: if it holds anything but tensors by name, or is damaged.
    """
    try:
        with open(path, "rb") as file:
            read = _read_zip if zipfile.is_zipfile(file) else _read_legacy
            file.seek(0)
            return read(file)
    except InputError as error:
        raise InputError(f"{path}: {error}: refused") from None
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except Exception as error:
        raise InputError(f"{path} is no whole state dict of PyTorch: {error}") from error


def _read_zip(file: io.BufferedIOBase) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(file) as archive:
        (head,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        tensors = _named(_TensorUnpickler(io.BytesIO(archive.read(head))).load())
        folder = head.removesuffix("data.pkl")
        read: dict[str, np.ndarray] = {}
        for dtype, key, _ in {lazy.storage[1]: lazy.storage for lazy in tensors.values()}.values():
            read[key] = np.frombuffer(archive.read(f"{folder}data/{key}"), dtype)
    return {name: lazy.view(read[lazy.storage[1]]) for name, lazy in tensors.items()}


def _read_legacy(file: io.BufferedIOBase) -> dict[str, np.ndarray]:
    magic, _, _ = (_TensorUnpickler(file).load() for _ in range(3))
    if magic != _MAGIC:
        raise ValueError("it does not begin as one")
    tensors = _named(_TensorUnpickler(file).load())
    keys = _TensorUnpickler(file).load()
    dtypes = {lazy.storage[1]: lazy.storage[0] for lazy in tensors.values()}
    read = {}
    for key in keys:
        size = int(np.frombuffer(file.read(8), "<i8")[0])
        data = file.read(size * dtypes[key].itemsize)
        read[key] = np.frombuffer(data, dtypes[key], size)
    return {name: lazy.view(read[lazy.storage[1]]) for name, lazy in tensors.items()}


def _named(loaded: Any) -> dict[str, _Lazy]:
    """Return the tensors by name, also from below "state_dict" or "model"."""
    for key in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not all(isinstance(v, _Lazy) for v in loaded.values()):
        raise ValueError("it is no table of tensors")
    return dict(loaded)
