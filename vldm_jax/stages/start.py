"""What training starts from: the parameters of a weights file, fresh where it may lack some."""

import re
from collections.abc import Callable

import jax
import jax.numpy as jnp

from vldm_jax.core import paths
from vldm_jax.interop.weights import WeightsFile
from vldm_jax.typing import PyTree


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
    paths.check_fits(file.path, paths.unflatten(kept), paths.unflatten(expected))
    values = kept | (paths.flatten(fresh(new.__contains__)) if new else {})
    tree = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), paths.unflatten(values))
    return tree, sorted(new)
