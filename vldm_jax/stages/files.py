"""Weights files that a stage stands on, starts from or is sampled with: found first, read later.

A weights file describes itself (kind, fields of the module), so a stage that stands on another one
names only its file. Everything that can be compared is compared before an array is read.
"""

import dataclasses
import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vldm_jax.checkpoint.weights import WEIGHTS, check_fits, load_weights, read_meta
from vldm_jax.core import paths
from vldm_jax.core.assets import resolve
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import sha256
from vldm_jax.typing import PyTree


@dataclasses.dataclass(frozen=True, eq=False)
class WeightsFile:
    """A weights file and what it says of itself; its arrays are not read.

    Attributes:
        path: as the user named it.
        file: where it is.
        meta: its description: kind, config (the module's fields) and more.
    """

    path: str
    file: Path
    meta: dict[str, Any]

    @functools.cached_property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of the file."""
        return sha256(self.file)

    def read(self) -> PyTree:
        """Return its arrays, nested, as NumPy in the type that they are stored in.

        Raises:
            InputError: if one holds a value that is not a finite number.
        """
        params = load_weights(self.file)[0]
        bad = {p: n for p, a in paths.flatten(params).items() if (n := _not_finite(a))}
        if bad:
            raise InputError(
                f"{self.path}: {sum(bad.values())} values in {len(bad)} arrays are not finite "
                f"numbers, first in {next(iter(bad))!r}: the weights are damaged; make them again"
            )
        return params


def _not_finite(array: np.ndarray) -> int:
    if not jnp.issubdtype(array.dtype, jnp.floating):
        return 0
    return int(array.size - np.isfinite(array).sum())


def find(path: str | None, kinds: tuple[str, ...], flag: str) -> WeightsFile:
    """Return a weights file of one of these kinds.

    Args:
        path: file, or "asset:NAME"; a stage's workdir means its exported file.
        kinds: what it may hold.
        flag: what the user named it with, for messages: "--config.model.backbone".

    Raises:
        InputError: if it is not given, missing, unreadable or of another kind.
    """
    wanted = " or ".join(kinds)
    if not path:
        raise InputError(f"{flag[2:]} is not set: give {wanted} weights, {flag}=FILE")
    file = resolve(path)
    if file.is_dir():
        if not (file / WEIGHTS).is_file():
            raise InputError(
                f"{flag}: the folder {path} holds no {WEIGHTS}; a stage writes it when it ends, "
                "and a public checkpoint must come in first, with vldm convert import"
            )
        file = file / WEIGHTS
    meta = read_meta(file)
    if meta["kind"] not in kinds:
        raise InputError(f"{flag}: {path} holds weights of kind {meta['kind']!r}, not {wanted!r}")
    return WeightsFile(str(path), file, meta)


def start_from(
    file: WeightsFile,
    shapes: PyTree,
    fresh: Callable[[Callable[[str], bool]], PyTree],
    may_be_fresh: str,
) -> tuple[PyTree, list[str]]:
    """Return the parameters that training starts from: the file's, fresh where it has none.

    Args:
        file: to start from.
        shapes: of all parameters that are wanted.
        fresh: which paths -> those parameters, freshly initialised.
        may_be_fresh: regular expression of paths that the file may lack, or have in another shape;
            everything else must be there exactly.

    Returns:
        The tree, float32, and the paths that are fresh.

    Raises:
        InputError: naming a path that is missing, not wanted, or of another shape.
    """
    wanted, have = paths.flatten(shapes), paths.flatten(file.read())
    new = {
        path
        for path, leaf in wanted.items()
        if re.search(may_be_fresh, path)
        and (path not in have or tuple(have[path].shape) != tuple(leaf.shape))
    }
    kept = {path: leaf for path, leaf in have.items() if path not in new}
    expected = {path: leaf for path, leaf in wanted.items() if path not in new}
    check_fits(file.path, paths.unflatten(kept), paths.unflatten(expected))
    values = kept | (paths.flatten(fresh(new.__contains__)) if new else {})
    tree = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), paths.unflatten(values))
    return tree, sorted(new)
