"""What a checkpoint or a weights file holds, as text.

Sizes come from the descriptions; of the arrays themselves only the mixes are read.
"""

import contextlib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from vldm_jax.checkpoint.manifest import MANIFEST
from vldm_jax.checkpoint.steps import (
    check_whole,
    complete_steps,
    is_complete,
    read_description,
    read_json_item,
)
from vldm_jax.checkpoint.weights import is_weights, load_weights, read_header, read_meta
from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.typing import PyTree

MOST_MIXES = 4096  # of one layer, one a frame: no larger array is read
_FLOATS = ("F64", "F32", "F16", "BF16")  # what a mix may be stored in


def describe(path: str | os.PathLike[str], mixes: Callable | None = None) -> str:
    """Return a summary of weights files, a checkpoint, or the newest one of a workdir.

    Args:
        path: *.safetensors, a folder of them, a step's folder, one of checkpoints, or a workdir.
        mixes: network's parameters -> {layer: mix}; None leaves the mixes out.

    Raises:
        InputError: if there is nothing to describe.
    """
    path = Path(path).absolute()  # orbax takes no other
    if path.is_file():
        return "\n".join(_describe_weights(path, mixes))
    if checkpoint := _find_checkpoint(path):
        return "\n".join(_describe_checkpoint(checkpoint, mixes))
    files = [file for file in sorted(path.glob("*.safetensors")) if is_weights(file)]
    if not files:
        raise InputError(
            f"{path} holds no weights file and no complete checkpoint; a public checkpoint comes "
            "in with vldm convert import, which writes a weights file for each of its networks"
        )
    return "\n".join(line for file in files for line in _describe_weights(file, mixes))


def _find_checkpoint(path: Path) -> Path | None:
    if is_complete(path):
        return path
    for folder in (path, path / "checkpoints"):
        if steps := complete_steps(folder):
            return folder / str(steps[-1])
    return None


def _describe_weights(path: Path, mixes: Callable | None) -> list[str]:
    meta = read_meta(path)
    header = read_header(path)
    header.pop("__metadata__")
    entries = {name: _stored(entry) for name, entry in header.items()}
    lines = [f"{path}: weights of kind {meta['kind']!r}"]
    lines += [f"  {name} = {value}" for name, value in meta.items() if name != "kind"]
    groups: dict[str, list[_Entry]] = {}
    for name, entry in entries.items():
        groups.setdefault("temporal" if "temporal" in name else "spatial", []).append(entry)
    lines += [_size_line(group, group_entries) for group, group_entries in sorted(groups.items())]
    if mixes is not None:
        small = [
            name
            for name, entry in entries.items()
            if entry.kind in _FLOATS and entry.values <= MOST_MIXES
        ]
        lines += _mix_lines(mixes(load_weights(path, dtype="float32", names=small)[0]))
    return lines


def _describe_checkpoint(path: Path, mixes: Callable | None) -> list[str]:
    check_whole(path)
    with _refusing(path):
        return _checkpoint_lines(path, mixes)


@contextlib.contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Tell in one line what an old checkpoint, which has no checksums, makes of orbax and us."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{path} cannot be described ({type(error).__name__}: {error}): it is damaged"
        ) from error


def _checkpoint_lines(path: Path, mixes: Callable | None) -> list[str]:
    config, meta = read_json_item(path, "config"), read_description(path)
    tree = ocp.PyTreeCheckpointHandler().metadata(epath.Path(path) / "state").tree
    sums = "checksums match" if (path / MANIFEST).is_file() else "no checksums (an older version)"
    lines = [
        f"{path}: checkpoint of step {path.name}, written by vldm_jax {meta['version']}, {sums}"
    ]
    if "data" in config:
        lines.append("trained on")
        lines += [f"  {name} = {value}" for name, value in sorted(config["data"].items())]
    lines.append("stored")
    lines += _trained_lines(tree["params"], config)
    for name in ("ema", "opt_state"):
        entries = [_entry(leaf) for leaf in _leaves(tree[name])]
        lines.append(_size_line(name, entries))
    lines.append("frozen, not stored")
    lines += [f"  {file}  sha256 {digest}" for file, digest in meta["backbones"].items()] or ["  -"]
    if mixes is not None:
        lines += _mix_lines(mixes(_read_params(path)))
    return lines


def _trained_lines(params: PyTree, config: Mapping[str, Any]) -> list[str]:
    flat = paths.flatten(params)
    if "train" not in config or "rules" not in config["train"]:
        return [_size_line("params", [_entry(leaf) for leaf in flat.values()])]
    rules = tuple((pattern, group) for pattern, group in config["train"]["rules"])
    groups: dict[str, list[Any]] = {}
    for name, leaf in flat.items():
        groups.setdefault(paths.group_of(rules, name), []).append(_entry(leaf))
    return [_size_line(f"params {group}", entries) for group, entries in sorted(groups.items())]


def read_params(path: Path) -> PyTree:
    """Return the trained parameters in a checkpoint's folder, not their average, as NumPy.

    Raises:
        InputError: if the checkpoint is damaged.
    """
    check_whole(path)
    with _refusing(path):
        return _read_params(path)


def _read_params(path: Path) -> PyTree:
    abstract = ocp.PyTreeCheckpointHandler().metadata(epath.Path(path) / "state").tree["params"]
    wanted = {"params": paths.unflatten({name: 0 for name in paths.flatten(abstract)})}
    restore = ocp.args.PyTreeRestore(
        item=wanted,
        restore_args=paths.unflatten(
            {name: ocp.RestoreArgs(restore_type=np.ndarray) for name in paths.flatten(wanted)}
        ),
        partial_restore=True,
    )
    return ocp.PyTreeCheckpointHandler().restore(epath.Path(path) / "state", args=restore)["params"]


def _leaves(tree: Any) -> Iterable[Any]:
    if tree is None:
        return
    if isinstance(tree, Mapping):
        tree = tree.values()
    elif not isinstance(tree, list | tuple):
        yield tree
        return
    for branch in tree:
        yield from _leaves(branch)


class _Entry(NamedTuple):
    """An array: number of values, bytes, and its type as the file names it."""

    values: int
    size: int
    kind: str


def _entry(leaf: Any) -> _Entry:
    dtype = np.dtype(leaf.dtype)
    return _Entry(math.prod(leaf.shape), math.prod(leaf.shape) * dtype.itemsize, str(dtype))


def _stored(entry: Mapping[str, Any]) -> _Entry:
    """Return an array of a safetensors file; its bytes are said there, whatever the type is."""
    start, end = entry["data_offsets"]
    return _Entry(math.prod(entry["shape"]), end - start, entry["dtype"])


def _size_line(name: str, entries: list[_Entry]) -> str:
    values, size = sum(entry.values for entry in entries), sum(entry.size for entry in entries)
    kinds = "+".join(sorted({entry.kind for entry in entries})) or "none"
    return f"  {name:<18} {len(entries):>6} arrays {values:>14,} values {size:>15,} bytes  {kinds}"


def _mix_lines(mixes: Mapping[str, Any]) -> list[str]:
    if not mixes:
        return []
    width = max(len(layer) for layer in mixes)
    lines = ["mix per layer (1: the image model alone, 0: the temporal layer alone)"]
    for layer, mix in mixes.items():
        values = " ".join(f"{value:.3f}" for value in np.ravel(mix))
        lines.append(f"  {layer:<{width}}  {values}")
    return lines
