"""The device mesh, and how a batch and a tree are laid on it.

The axis "data" splits the batch; parameters are replicated, whole on every device.
Every process feeds its own share of the global batch.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vldm_jax.core.errors import InputError
from vldm_jax.typing import PyTree

DATA = "data"


def make_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Return a mesh with the axis "data"; by default over all devices of all processes."""
    return Mesh(np.asarray(jax.devices() if devices is None else devices), (DATA,))


def replicate(tree: PyTree, mesh: Mesh) -> PyTree:
    """Return the tree with every array whole on every device of the mesh."""
    whole = NamedSharding(mesh, PartitionSpec())

    def put(leaf: Any) -> jax.Array:
        # Keys are put by their data: device_put takes no typed key to another process's devices.
        if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            data = jax.device_put(jax.random.key_data(leaf), whole)
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        return jax.device_put(leaf, whole)

    return jax.tree.map(put, tree)


def local(tree: PyTree) -> PyTree:
    """Return whole arrays on one device of this process, to be used without the other processes.

    Raises:
        ValueError: if an array is split over processes: gathering it takes all of them.
    """
    return jax.tree.map(_local, tree)


def _local(leaf: jax.Array) -> jax.Array:
    if leaf.is_fully_replicated:
        return leaf.addressable_data(0)
    if not leaf.is_fully_addressable:
        raise ValueError(
            f"an array {leaf.shape} is split over processes ({leaf.sharding}): replicate it first, "
            "in all of them"
        )
    return jax.device_put(leaf, leaf.addressable_shards[0].device)


def shard_batch(
    batch: Mapping[str, Any], mesh: Mesh, keys: Sequence[str] | None = None
) -> dict[str, Any]:
    """Return the batch as global arrays, split over "data" on their first axis.

    Args:
        batch: NumPy arrays of this process, leading with its share of b.
        mesh: where they go.
        keys: which entries to send; default all.

    Raises:
        InputError: if a key is missing, or b does not divide over the devices.
    """
    keys = tuple(batch) if keys is None else tuple(keys)
    sharding = NamedSharding(mesh, PartitionSpec(DATA))
    share = max(mesh.shape[DATA] // jax.process_count(), 1)
    arrays = {}
    for key in keys:
        if key not in batch:
            raise InputError(
                f"the training objective needs {key!r}, but the loader gives {sorted(batch)}: "
                "choose data that has it or switch the condition off"
            )
        array = np.asarray(batch[key])
        if array.shape[0] % share:
            raise InputError(
                f"a batch of {array.shape[0]} per process does not divide over {share} devices: "
                "change train.batch_size"
            )
        arrays[key] = jax.make_array_from_process_local_data(sharding, array)
    return arrays
