"""A batch shared out over devices: each computes its rows and no others."""

import jax
import numpy as np
import pytest

from vldm_jax.parallel.mesh import make_mesh, replicate
from vldm_jax.parallel.split import filled, placed, split_over

ROWS = np.arange(8, dtype=np.float32).reshape(8, 1)


def test_a_batch_is_filled_up_to_a_multiple_of_the_devices():
    assert [filled(count, 4) for count in (1, 4, 5, 8)] == [4, 4, 8, 8]
    assert filled(5, 1) == 5


@pytest.mark.parametrize("count", [1, 2, 4])
def test_rows_are_the_same_on_any_number_of_devices_and_shared_out_evenly(count):
    """A loop over the rows is where the compiler alone would give all rows to all devices."""
    devices, seen = jax.local_devices()[:count], []

    def function(scale, x):
        seen.append(x.shape)
        return {"y": jax.lax.map(lambda row: scale * row + 1, x), "mean": x.mean(1)}

    scale = replicate(np.float32(3), make_mesh(devices))
    found = split_over(function, devices, whole=1)(scale, placed(ROWS, devices))
    np.testing.assert_array_equal(found["y"], 3 * ROWS + 1)
    np.testing.assert_array_equal(found["mean"], ROWS[:, 0])
    assert set(seen) == {(8 // count, 1)}
    assert len(found["y"].sharding.device_set) == count
    assert {shard.data.shape for shard in found["y"].addressable_shards} == {(8 // count, 1)}
