"""Meshes, batches and trees on them, and a process that is alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from vldm_jax.core.errors import InputError
from vldm_jax.parallel import hosts
from vldm_jax.parallel.mesh import local, make_mesh, replicate, shard_batch


def test_a_mesh_has_all_devices_or_those_that_are_given():
    assert dict(make_mesh().shape) == {"data": 4}
    assert dict(make_mesh(jax.devices()[:2]).shape) == {"data": 2}


def test_a_batch_is_split_over_data_and_keys_are_chosen():
    batch = {"video": np.arange(16, dtype=np.uint8).reshape(8, 2), "id": np.array(["a"] * 8)}
    placed = shard_batch(batch, make_mesh(), ("video",))
    assert set(placed) == {"video"}
    np.testing.assert_array_equal(placed["video"], batch["video"])
    assert placed["video"].dtype == jnp.uint8
    assert [shard.data.shape for shard in placed["video"].addressable_shards] == [(2, 2)] * 4


def test_a_batch_that_does_not_fit():
    with pytest.raises(InputError, match="batch of 6 per process does not divide over 4 devices"):
        shard_batch({"video": np.zeros((6, 2))}, make_mesh())
    with pytest.raises(InputError, match=r"needs 'labels', but the loader gives \['video'\]"):
        shard_batch({"video": np.zeros((4, 2))}, make_mesh(), ("video", "labels"))


def test_replicated_is_whole_everywhere():
    tree = replicate({"a": jnp.arange(4.0)}, make_mesh())
    assert [shard.data.shape for shard in tree["a"].addressable_shards] == [(4,)] * 4
    key = replicate(jax.random.key(3), make_mesh())
    assert len(key.sharding.device_set) == 4
    assert jax.random.bits(key) == jax.random.bits(jax.random.key(3))


@pytest.mark.parametrize("spec", [PartitionSpec(), PartitionSpec("data")])
def test_local_is_whole_and_on_one_device(spec):
    whole = np.arange(8.0).reshape(4, 2)
    array = jax.device_put(whole, NamedSharding(make_mesh(), spec))
    here = local({"a": array})["a"]
    np.testing.assert_array_equal(here, whole)
    assert len(here.sharding.device_set) == 1


def test_one_process_agrees_with_itself():
    assert hosts.is_main()
    assert hosts.agree(True) and not hosts.agree(False)
    hosts.barrier("alone")
    assert hosts.start() == "process 0 of 1: 4 of 4 cpu devices"
    with pytest.raises(InputError, match="needs coordinator, num_processes and process_id"):
        hosts.start(coordinator="host:1")
