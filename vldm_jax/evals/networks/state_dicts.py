"""State dicts that a user names: read from either form of file, and held to a network's layout.

Nothing pins these files, since none of them is in a package. So every name and shape is compared
before anything is used, and what does not fit is refused with the file that is wanted.
"""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.evals.networks.torch_arrays import load_torch
from vldm_jax.interop.files.archives import open_archive
from vldm_jax.typing import PyTree, Shaped

_SAFE = (".safetensors", ".json")  # .json: the index of several
# PyTorch's axes -> ours, by their number: (out, in, ...) -> (..., in, out).
_AXES = {2: (1, 0), 4: (2, 3, 1, 0), 5: (2, 3, 4, 1, 0)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """What a file must be.

    Attributes:
        name: of the network, for messages: "FID Inception-v3".
        file: that is wanted, for messages.
        ignored: matches the names of tensors that the network does not use.
    """

    name: str
    file: str
    ignored: str

    def refuse(self, problem: str) -> InputError:
        """Return the error for a file; the problem begins with its path."""
        return InputError(f"{problem}, so it is no {self.name}: give {self.file}")

    def check(
        self,
        path: str | Path,
        tensors: Mapping[str, Any],
        shapes: Mapping[str, tuple[int, ...]],
    ) -> None:
        """Raise unless the tensors are those of `shapes` and ones that are ignored.

        Args:
            path: of the file, for messages.
            tensors: whatever has a shape, by name.
            shapes: that are wanted.

        Raises:
            InputError: naming the first that is missing, unknown or of another shape.
        """
        for name, shape in shapes.items():
            if name not in tensors:
                raise self.refuse(f"{path} lacks {name!r}")
            if tensors[name].shape != shape:
                have = tensors[name].shape
                raise self.refuse(f"{path}: {name!r} has the shape {have}, not {shape}")
        for name in tensors:
            if name not in shapes and not re.fullmatch(self.ignored, name):
                raise self.refuse(f"{path} holds {name!r}, which the network has not")


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """Return {name: array} of a safetensors file (or the index of several) or a PyTorch file.

    Raises:
        InputError: if it is missing, damaged, or holds anything but tensors.
    """
    if Path(path).suffix not in _SAFE:
        return load_torch(path)
    tensors = open_archive(Path(path)).tensors
    return {name: np.array(tensor.array()) for name, tensor in tensors.items()}


def torch_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape that PyTorch gives a kernel of ours."""
    order = _AXES[len(shape)]
    return tuple(shape[order.index(axis)] for axis in range(len(shape)))


def our_axes(weight: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
    """Return a weight of PyTorch's linear or convolution in our order, a view."""
    return weight.transpose(_AXES[weight.ndim])


def torch_name(path: str) -> str:
    """Return PyTorch's name of our parameter: a/b/kernel -> a.b.weight."""
    *parents, leaf = path.split("/")
    leaf = "weight" if leaf in ("kernel", "scale", "embedding") else leaf
    return ".".join((*parents, leaf))


def torch_shapes(params: PyTree) -> dict[str, tuple[int, ...]]:
    """Return {PyTorch's name: shape} of a tree of ours, arrays or their shapes."""
    flat = paths.flatten(params)
    kernels = {path for path in flat if path.endswith("/kernel")}
    return {
        torch_name(path): torch_axes(leaf.shape) if path in kernels else tuple(leaf.shape)
        for path, leaf in flat.items()
    }


def our_tree(params: PyTree, tensors: Mapping[str, Shaped[np.ndarray, "..."]]) -> PyTree:
    """Return a tree like `params`, float32, of tensors that were checked against it.

    Raises:
        InputError: naming the first tensor with values that are not finite.
    """
    flat = {}
    for path in paths.flatten(params):
        tensor = tensors[torch_name(path)]
        if not np.isfinite(tensor).all():
            raise InputError(
                f"weights: {torch_name(path)!r} has values that are not finite: get the file again"
            )
        tensor = our_axes(tensor) if path.endswith("/kernel") else tensor
        flat[path] = np.ascontiguousarray(tensor, np.float32)
    return paths.unflatten(flat)
