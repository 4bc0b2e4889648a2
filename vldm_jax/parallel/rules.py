"""How parameters are laid on the mesh: path -> partition, by the first rule that fits.

    rules = ((r"attn.*/kernel$", (None, "fsdp")), ...)     axis names by array axis, None = whole

What no rule names is replicated: small weights cost less whole than gathered at every step. The
same rules lay out a whole training state, because the paths of moments and averages end in the
parameter's path.
"""

import re
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vldm_jax.core.errors import InputError
from vldm_jax.typing import PyTree

Rules = tuple[tuple[str, tuple[Any, ...]], ...]


def spec_of(rules: Rules, path: str) -> PartitionSpec:
    """Return the partition of the first rule found in `path` (`re.search`), else replicated."""
    for pattern, axes in rules:
        if re.search(pattern, path):
            return PartitionSpec(*axes)
    return PartitionSpec()


def shardings(tree: PyTree, mesh: Mesh, rules: Rules = ()) -> PyTree:
    """Return the tree's shardings.

    Args:
        tree: arrays or shape structs in any pytree, e.g. a training state.
        mesh: the mesh.
        rules: (regex, axis names) list.

    Raises:
        InputError: if a rule names an unknown axis, or one that does not divide the array.
    """

    def place(keys: tuple[Any, ...], leaf: Any) -> NamedSharding:
        path = jax.tree_util.keystr(keys, simple=True, separator="/")
        # Scalars (step, counters) and whatever is not an array axis stay whole.
        spec = spec_of(rules, path) if len(leaf.shape) else PartitionSpec()
        _check(path, tuple(leaf.shape), spec, mesh)
        return NamedSharding(mesh, spec)

    return jax.tree_util.tree_map_with_path(place, tree)


def _check(path: str, shape: tuple[int, ...], spec: PartitionSpec, mesh: Mesh) -> None:
    if len(spec) > len(shape):
        raise InputError(f"parallel.rules give {path!r} of shape {shape} the partition {spec}")
    for size, names in zip(shape, spec, strict=False):
        for name in names if isinstance(names, tuple) else (names,):
            if name is not None and name not in mesh.shape:
                raise InputError(
                    f"parallel.rules put {path!r} on the axis {name!r}; "
                    f"the mesh has {tuple(mesh.axis_names)}"
                )
        parts = int(np.prod([mesh.shape[n] for n in _names(names)]))
        if size % parts:
            raise InputError(
                f"parallel.rules cut {path!r} of shape {shape} as {spec}: "
                f"{size} does not divide by {parts}"
            )


def _names(names: Any) -> tuple[str, ...]:
    if names is None:
        return ()
    return names if isinstance(names, tuple) else (names,)
