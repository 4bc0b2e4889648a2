"""Load networks from public checkpoints or ours: the tensors that `find` found, read and placed.

One tensor is read at a time, so host memory stays under the model's size plus its largest tensor;
onto a sharded target every process reads the bytes of its own shards only.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vldm_jax.checkpoint.weights import DTYPES, cast
from vldm_jax.core import paths
from vldm_jax.core.assets import resolve
from vldm_jax.core.errors import InputError
from vldm_jax.interop.files.tensors import Index, Tensor
from vldm_jax.interop.find import find
from vldm_jax.interop.tokenizer import Tokenizer, load_tokenizer
from vldm_jax.models.network import Network
from vldm_jax.typing import DTypeLike

SLAB_BYTES = 4 << 20  # of a file that are mapped at a time
ALIGNMENT = 64  # of memory that JAX on CPU uses as it is
Place = Callable[[str, tuple[int, ...]], jax.sharding.Sharding]


class Pipeline(Mapping[str, Any]):
    """The networks of one checkpoint by name, "unet", "vae", "text_encoder", and its tokenizer.

    Attributes:
        tokenizer: text -> token ids, None where the checkpoint has none.
    """

    def __init__(self, networks: Mapping[str, Network], tokenizer: Tokenizer | None) -> None:
        self._networks = dict(networks)
        self.tokenizer = tokenizer

    def __getitem__(self, name: str) -> Network:
        return self._networks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._networks)

    def __len__(self) -> int:
        return len(self._networks)

    def __repr__(self) -> str:
        return f"Pipeline({', '.join(self)})"


def load(
    path: str | Path,
    part: str | None = None,
    *,
    dtype: str | None = None,
    compute: DTypeLike = jnp.float32,
    fields: Mapping[str, Any] | None = None,
    ema: bool = False,
    place: jax.sharding.Sharding | Place | None = None,
) -> Any:
    """Load a network, or all of a pipeline.

    Args:
        path: a diffusers or transformers folder, one file of either or of the original code, a
            pipeline's folder, an AnimateDiff file, or a weights file of this project.
        part: of a pipeline or a single file, the network to load alone ("unet").
        dtype: "float32", "bfloat16" or "float16" to cast to; None keeps what is stored.
        compute: type that the network computes in; norms, softmax and results are float32.
        fields: of the module, which the file doesn't tell ({"heads": 8}); they win.
        ema: of a single file with both, the moving average of the U-Net.
        place: where arrays go: a sharding, or a function of (path, shape) that returns one; None
            for the default device.

    Returns:
        `Network` (its class by kind), or a `Pipeline` of several; docs/interop.md lists the kinds.

    Raises:
        InputError: one line that names the file and the key; nothing is loaded then.
    """
    if dtype is not None and dtype not in DTYPES:
        raise InputError(f"{dtype=}: choose one of {tuple(DTYPES)}, or None to keep the file's")
    found = find(str(path), part=part, fields=fields, ema=ema, compute=compute)
    networks = {name: read(network, dtype, place) for name, network in found.items()}
    root = resolve(str(path))
    if part is not None or (len(networks) == 1 and not (root / "model_index.json").is_file()):
        return next(iter(networks.values()))
    return Pipeline(networks, _tokenizer(root))


def read(
    found: Network, dtype: str | None, place: jax.sharding.Sharding | Place | None = None
) -> Network:
    """Return what `find` found with its tensors read and placed; arguments as `load`."""
    return _mapped(found, lambda path, tensor: _placed(path, tensor, dtype, place))


def read_host(found: Network, dtype: str | None) -> Network:
    """Return what `find` found with its tensors as NumPy arrays, to be written."""
    return _mapped(found, lambda path, tensor: own_part(tensor, _whole(tensor), dtype))


def _mapped(found: Network, read: Callable[[str, Tensor], Any]) -> Network:
    flat = {path: read(path, tensor) for path, tensor in paths.flatten(found.params).items()}
    return dataclasses.replace(found, params=paths.unflatten(flat))


def own_part(tensor: Tensor, index: Index, dtype: str | None) -> np.ndarray:
    """Return a part of a tensor in memory of its own, of another type if asked.

    It is copied slab by slab along the axis that varies slowest in the file: what is mapped, and
    what a cast needs besides, stays small, and no page is read twice.

    Args:
        tensor: in a file.
        index: a slice an axis.
        dtype: "float32", "bfloat16" or "float16"; None keeps the file's.

    Raises:
        InputError: if the type does not hold a value.
    """
    mapped = tensor.read(index)  # nothing of it is touched yet
    strides = mapped.strides
    part = _aligned(mapped.shape, DTYPES[dtype] if dtype else mapped.dtype)
    if not mapped.size or not mapped.ndim:
        part[...] = cast(tensor.file, tensor.key, mapped, dtype)
        return part
    axis = max(range(part.ndim), key=lambda i: (part.shape[i] > 1, strides[i]))
    first, last, _ = index[axis].indices(tensor.shape[axis])
    rows = max(1, SLAB_BYTES * part.shape[axis] // mapped.nbytes)
    del mapped
    for start in range(first, last, rows):
        here = slice(start, min(start + rows, last))
        slab = tensor.read((*index[:axis], here, *index[axis + 1 :]))
        there = (slice(None),) * axis + (slice(here.start - first, here.stop - first),)
        part[there] = cast(tensor.file, tensor.key, slab, dtype)
    return part


def _aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return uninitialised memory that JAX takes over on CPU, where it would copy any other."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)


def _placed(
    path: str, tensor: Tensor, dtype: str | None, place: jax.sharding.Sharding | Place | None
) -> jax.Array:
    if place is None:
        return jax.device_put(own_part(tensor, _whole(tensor), dtype)).block_until_ready()
    sharding = place if isinstance(place, jax.sharding.Sharding) else place(path, tensor.shape)
    parts: dict[tuple[tuple[int, ...], ...], np.ndarray] = {}

    def part(index: Index) -> np.ndarray:
        bounds = tuple(i.indices(size) for i, size in zip(index, tensor.shape, strict=True))
        if bounds not in parts:  # JAX asks once a device, also for what several hold
            parts[bounds] = own_part(tensor, index, dtype)
        return parts[bounds]

    # Ready before the next tensor is read: a device that is far would let host copies pile up.
    return jax.make_array_from_callback(tensor.shape, sharding, part).block_until_ready()


def _whole(tensor: Tensor) -> Index:
    return (slice(None),) * len(tensor.shape)


def _tokenizer(root: Path) -> Tokenizer | None:
    folder = root / "tokenizer"
    return load_tokenizer(folder) if folder.is_dir() else None
