"""Meshes, batches on them, and layouts by rule."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from vldm_jax.core.errors import InputError
from vldm_jax.parallel import hosts
from vldm_jax.parallel.mesh import make_mesh, replicate, shard_batch
from vldm_jax.parallel.rules import shardings, spec_of


@pytest.mark.parametrize(
    ("axes", "shape"),
    [
        (None, {"data": 4}),
        ({"data": 2, "fsdp": -1}, {"data": 2, "fsdp": 2}),
        ({"data": 4}, {"data": 4}),
    ],
)
def test_meshes(axes, shape):
    assert dict(make_mesh(axes).shape) == shape


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"data": 3}, "does not fit 4 devices"),
        ({"data": 3, "fsdp": -1}, "does not fit 4 devices"),
        ({"data": -1, "fsdp": -1}, "does not fit 4 devices"),
        ({"fsdp": 4}, "lacks the axis 'data'"),
    ],
)
def test_a_mesh_that_does_not_fit(axes, message):
    with pytest.raises(InputError, match=message):
        make_mesh(axes)


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


RULES = ((r"attn.*/kernel$", (None, "data")), (r"conv", ("data",)))


def test_the_first_rule_decides_and_the_rest_is_replicated():
    assert spec_of(RULES, "network/attn1/to_q/kernel") == P(None, "data")
    assert spec_of(RULES, "network/attn1/to_q/bias") == P()


def test_moments_lie_as_their_parameter():
    params = {"attn": {"kernel": jnp.zeros((3, 8)), "bias": jnp.zeros(8)}}
    state = {"mu": params, "count": jnp.zeros(()), "params": params}
    found = shardings(state, make_mesh(), RULES)
    assert found["mu"]["attn"]["kernel"].spec == found["params"]["attn"]["kernel"].spec
    assert found["mu"]["attn"]["kernel"].spec == P(None, "data")
    assert found["count"].spec == P()
    placed = jax.device_put(state, found)
    assert placed["mu"]["attn"]["kernel"].addressable_shards[0].data.shape == (3, 2)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ((("a", ("tensor",)),), "on the axis 'tensor'; the mesh has"),
        ((("a", (None, "data")),), r"'a' of shape \(6,\) the partition"),
        ((("a", ("data",)),), "6 does not divide by 4"),
    ],
)
def test_a_layout_that_does_not_fit(rules, message):
    with pytest.raises(InputError, match=message):
        shardings({"a": jnp.zeros(6)}, make_mesh(), rules)


def test_one_process_agrees_with_itself():
    assert hosts.is_main()
    assert hosts.agree(True) and not hosts.agree(False)
    hosts.barrier("alone")
    assert hosts.start() == "process 0 of 1: 4 of 4 cpu devices"
    with pytest.raises(InputError, match="needs coordinator, num_processes and process_id"):
        hosts.start(coordinator="host:1")
