"""Tensors in files, not yet read: their names, shapes and types, and views of them.

A foreign checkpoint is opened once, looked at as a whole, and read one tensor at a time, so that
host memory holds the finished arrays and one tensor more. A `Tensor` is what a file says of an
array and a function that reads a part of it; the views below (other axes, some rows) are tensors
again, so a shard of a transposed kernel reads the bytes of that shard only.
Files are opened by `archives`.
"""

import dataclasses
import functools
import math
from collections.abc import Callable

import numpy as np

Index = tuple[slice, ...]  # one an axis, without steps


@dataclasses.dataclass(frozen=True)
class Tensor:
    """An array in a file, or a view of one.

    Attributes:
        file: where it is.
        key: its name there, for messages.
        shape: of the array.
        dtype: as stored.
        read: (a slice an axis) -> that part, with the values as stored.
    """

    file: str
    key: str
    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[Index], np.ndarray]

    @property
    def size(self) -> int:
        """Number of its values."""
        return math.prod(self.shape)

    def array(self) -> np.ndarray:
        """Return the whole array."""
        return self.read(tuple(slice(0, size) for size in self.shape))

    def transpose(self, axes: tuple[int, ...]) -> "Tensor":
        """Return the view whose axis i is axis `axes[i]` of this one."""
        shape = tuple(self.shape[axis] for axis in axes)
        read = functools.partial(_read_transposed, self, axes)
        return dataclasses.replace(self, shape=shape, read=read)

    def with_unit_axes(self, shape: tuple[int, ...]) -> "Tensor":
        """Return the view of another shape that differs in axes of size 1 only."""
        read = functools.partial(_read_with_unit_axes, self, shape)
        return dataclasses.replace(self, shape=shape, read=read)

    def rows(self, start: int, stop: int) -> "Tensor":
        """Return the view of the rows [start, stop) of the first axis."""
        read = functools.partial(_read_rows, self, start, stop)
        return dataclasses.replace(self, shape=(stop - start, *self.shape[1:]), read=read)

    def negative(self) -> "Tensor":
        """Return the view of the values with their sign changed, which is exact."""
        return dataclasses.replace(self, read=functools.partial(_read_negative, self))


def constant(file: str, key: str, array: np.ndarray) -> Tensor:
    """Return an array that stands for a tensor which a file leaves out."""
    return Tensor(file, key, array.shape, array.dtype, lambda index: array[(*index, ...)])


def _read_transposed(tensor: Tensor, axes: tuple[int, ...], index: Index) -> np.ndarray:
    there: list[slice] = [slice(None)] * len(axes)
    for here, axis in enumerate(axes):
        there[axis] = index[here]
    return tensor.read(tuple(there)).transpose(axes)


def _read_with_unit_axes(tensor: Tensor, shape: tuple[int, ...], index: Index) -> np.ndarray:
    mine = [axis for axis, size in enumerate(tensor.shape) if size != 1]
    theirs = [axis for axis, size in enumerate(shape) if size != 1]
    there: list[slice] = [slice(0, 1)] * len(tensor.shape)
    for axis, other in zip(mine, theirs, strict=True):
        there[axis] = index[other]
    part = tensor.read(tuple(there))
    sizes = iter([part.shape[axis] for axis in mine])
    part = part.reshape([1 if size == 1 else next(sizes) for size in shape])
    # Of an axis of size 1, nothing may be asked. The ellipsis keeps an array without axes one.
    unit = [i if size == 1 else slice(None) for i, size in zip(index, shape, strict=True)]
    return part[(*unit, ...)]


def _read_rows(tensor: Tensor, start: int, stop: int, index: Index) -> np.ndarray:
    first, last, _ = index[0].indices(stop - start)
    return tensor.read((slice(start + first, start + last), *index[1:]))


def _read_negative(tensor: Tensor, index: Index) -> np.ndarray:
    return np.asarray(-tensor.read(index))  # NumPy makes a scalar of an array without axes


def reason(error: Exception) -> str:
    """Return what a foreign library says of a file, on one line and not too long."""
    return " ".join(str(error).split())[:200] or type(error).__name__
