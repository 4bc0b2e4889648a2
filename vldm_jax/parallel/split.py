"""A function of a batch on several devices of this process, each computing its share of the rows.

    device i of k:  rows [i n / k, (i + 1) n / k)  of  f(*whole, *batches)                      (1)

The compiler alone would not share out every function: a loop over the rows (`lax.map`) is one
program that all devices run for all rows. Here the function itself is called on a share, so it must
compute each row by itself.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from vldm_jax.parallel.mesh import DATA, make_mesh
from vldm_jax.typing import PyTree


def split_over(
    function: Callable[..., Any], devices: Sequence[jax.Device], *, whole: int
) -> Callable[..., Any]:
    """Return the compiled function, its rows split over the devices as equation (1) says.

    It is called with what `replicate` made for these devices in the place of its first arguments;
    every other array leads with a number of rows that divides over them.

    Args:
        function: (*whole, *batches) -> tree of arrays that lead with the rows of the batches.
        devices: of this process.
        whole: how many of its arguments all rows share.
    """
    if len(devices) == 1:
        return jax.jit(function)
    mesh, rows = make_mesh(devices), PartitionSpec(DATA)

    def split(*args: PyTree) -> PyTree:
        specs = (*(PartitionSpec(),) * whole, *(rows,) * (len(args) - whole))
        run = jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=rows, check_vma=False)
        return run(*args)

    return jax.jit(split)


def filled(count: int, devices: int) -> int:
    """Return the smallest number of rows that divides over the devices and is at least `count`."""
    return -(-count // devices) * devices


def placed(batch: PyTree, devices: Sequence[jax.Device]) -> PyTree:
    """Return arrays split over devices of this process on their first axis, which must divide."""
    sharding = NamedSharding(make_mesh(devices), PartitionSpec(DATA))
    return jax.tree.map(lambda array: jax.device_put(np.asarray(array), sharding), batch)
