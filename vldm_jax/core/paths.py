"""Parameter paths and the rule list that sorts them into groups.

A tree is a nested dict; a path is its keys joined by "/". A rule list is a tuple of
(regular expression, group); the first whose expression is found in the path (`re.search`) decides.
The same list drives what is differentiated, the optimiser's masks, the EMA and what a checkpoint
stores, so a path that no rule covers is an error, never a default.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from vldm_jax.core.errors import InputError
from vldm_jax.typing import PyTree

Rules = tuple[tuple[str, str], ...]


def flatten(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return {path: leaf} of a nested mapping, in sorted order of the keys."""
    flat: dict[str, Any] = {}
    for key in sorted(tree):
        value = tree[key]
        if isinstance(value, Mapping):
            flat.update({f"{key}/{path}": leaf for path, leaf in flatten(value).items()})
        else:
            flat[key] = value
    return flat


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nested dict whose `flatten` is `flat`."""
    tree: dict[str, Any] = {}
    for path, leaf in flat.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return tree


def group_of(rules: Rules, path: str) -> str:
    """Return the group of the first rule that is found in `path`.

    Raises:
        InputError: if no rule covers it.
    """
    for pattern, group in rules:
        if re.search(pattern, path):
            return group
    raise InputError(
        f"parameter {path!r} is covered by no rule of {[pattern for pattern, _ in rules]}: "
        "add a (regex, group) for it"
    )


def label(tree: PyTree, rules: Rules) -> PyTree:
    """Return a tree of the same structure whose leaves are the groups' names."""
    return unflatten({path: group_of(rules, path) for path in flatten(tree)})


def partition(tree: PyTree, rules: Rules) -> dict[str, PyTree]:
    """Split a tree into one sub-tree a group; `merge` of the parts is the tree again."""
    parts: dict[str, dict[str, Any]] = {}
    for path, leaf in flatten(tree).items():
        parts.setdefault(group_of(rules, path), {})[path] = leaf
    return {group: unflatten(flat) for group, flat in parts.items()}


def select(tree: PyTree, keep: Callable[[str], bool]) -> PyTree:
    """Return the part of a tree whose paths `keep` accepts."""
    return unflatten({path: leaf for path, leaf in flatten(tree).items() if keep(path)})


def merge(*trees: PyTree) -> PyTree:
    """Return the union of trees with disjoint paths.

    Raises:
        ValueError: if two trees hold the same path.
    """
    flat: dict[str, Any] = {}
    for tree in trees:
        part = flatten(tree)
        if shared := flat.keys() & part.keys():
            raise ValueError(f"both trees hold {sorted(shared)[0]!r}")
        flat.update(part)
    return unflatten(flat)


def check_fits(path: str | os.PathLike[str], params: PyTree, expected: PyTree) -> None:
    """Raise unless `params` has exactly the paths and shapes of `expected`.

    Args:
        path: where the parameters came from, for the message.
        params: nested dict of arrays.
        expected: nested dict of arrays or shape structs, from `jax.eval_shape` of the init.

    Raises:
        InputError: naming the first parameter that is missing, unexpected or of another shape.
    """
    have, want = flatten(params), flatten(expected)
    if missing := sorted(want.keys() - have.keys()):
        problem = f"lacks {missing[0]!r} and {len(missing) - 1} more that the network has"
    elif extra := sorted(have.keys() - want.keys()):
        problem = f"holds {extra[0]!r} and {len(extra) - 1} more that the network has not"
    elif wrong := [name for name in want if tuple(have[name].shape) != tuple(want[name].shape)]:
        name = wrong[0]
        problem = f"has {name!r} of shape {have[name].shape}, the network {want[name].shape}"
    else:
        return
    raise InputError(f"{path} {problem}: the file and the model's config do not belong together")


def count(leaves: Iterable[Any]) -> int:
    """Return the number of values in arrays or `ShapeDtypeStruct`s."""
    return sum(int(leaf.size) for leaf in leaves)
