"""The manager without a training run: positions, backbones, what is kept, what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from small import Loader, make_state, open_folder

from vldm_jax.checkpoint.inspect import describe
from vldm_jax.checkpoint.position import decode, encode
from vldm_jax.checkpoint.steps import complete_steps, is_complete
from vldm_jax.core.errors import InputError
from vldm_jax.nn.mixer import mixes
from vldm_jax.parallel.mesh import make_mesh


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize("position", [{"position": 12}, b"\x00\xff bytes", [1, "two"], None])
def test_positions_come_back(position):
    assert decode(encode(position)) == position


def test_round_trip_keeps_the_newest(tmp_path):
    checkpoints = open_folder(tmp_path, keep=2)
    assert checkpoints.latest_step() is None
    untouched = make_state(9.0)
    assert checkpoints.resume(untouched, Loader()) == (untouched, None)
    for step in (1, 2, 3):
        checkpoints.save(step, make_state(float(step)), Loader({"position": step}))
    checkpoints.wait()
    assert complete_steps(tmp_path) == [2, 3]
    loader = Loader()
    assert_equal(checkpoints.resume(make_state(), loader)[0], make_state(3.0))
    assert loader.position == {"position": 3}
    checkpoints.close()
    assert is_complete(tmp_path / "3") and not is_complete(tmp_path)


def test_arrays_go_where_the_given_state_lies(tmp_path):
    checkpoints = open_folder(tmp_path)
    checkpoints.save(1, make_state(2.0), Loader())
    checkpoints.wait()
    sharding = NamedSharding(make_mesh(), PartitionSpec())
    state, _ = checkpoints.resume(jax.device_put(make_state(), sharding), Loader())
    checkpoints.close()
    assert all(leaf.sharding == sharding for leaf in jax.tree.leaves(state))
    assert_equal(state, make_state(2.0))


@pytest.mark.parametrize(
    ("files", "what"), [("backbones", "frozen weights"), ("inputs", "input files")]
)
def test_files_may_move_but_not_change(tmp_path, files, what):
    checkpoints = open_folder(tmp_path, **{files: {"a/image.safetensors": "123"}})
    checkpoints.save(1, make_state(), Loader())
    checkpoints.close()
    moved = open_folder(tmp_path, **{files: {"b/image.safetensors": "123"}})
    moved.resume(make_state(), Loader())
    moved.close()
    other = open_folder(tmp_path, **{files: {"a/image.safetensors": "456"}})
    with pytest.raises(InputError, match=f"trained on the {what} .*123.* but here .*456"):
        other.resume(make_state(), Loader())
    other.close()


def test_another_network_is_refused(tmp_path):
    checkpoints = open_folder(tmp_path)
    checkpoints.save(1, make_state(), Loader())
    checkpoints.wait()
    bigger = make_state().replace(params={"network": {"other": jnp.zeros(3)}})
    with pytest.raises(InputError, match="1 cannot be restored"):
        checkpoints.resume(bigger, Loader())
    checkpoints.close()


def test_positions_of_another_number_of_processes(tmp_path):
    checkpoints = open_folder(tmp_path)
    checkpoints.save(1, make_state(), Loader({"position": 4}))
    checkpoints.wait()
    folder = tmp_path / "1" / "loader"
    (folder / "process_0-of-1.json").rename(folder / "process_0-of-2.json")
    (folder / "process_1-of-2.json").write_text('{"position": 4}')
    loader = Loader()
    checkpoints.resume(make_state(), loader)
    assert loader.position == {"position": 4}
    (folder / "process_1-of-2.json").write_text('{"position": 5}')
    with pytest.raises(InputError, match="2 different loader positions"):
        checkpoints.resume(make_state(), loader)
    checkpoints.close()


def test_a_summary_says_what_is_inside(tmp_path):
    checkpoints = open_folder(tmp_path / "checkpoints", backbones={"image.safetensors": "abc"})
    checkpoints.save(7, make_state(2.0), Loader())
    checkpoints.close()
    text = describe(tmp_path, mixes)
    assert "checkpoint of step 7" in text
    assert "fps = 7.5" in text
    assert "image.safetensors  sha256 abc" in text
    lines = {tuple(line.split()[:2]): line.split() for line in text.splitlines()}
    assert lines["params", "temporal"][2:7] == ["1", "arrays", "12", "values", "48"]
    assert lines["params", "mix"][2:7] == ["1", "arrays", "1", "values", "4"]
    assert lines["ema", "2"][1:6] == ["2", "arrays", "13", "values", "52"]
    assert lines["network/temporal_0", "0.881"]  # sigmoid(2)
    with pytest.raises(InputError, match="no complete checkpoint"):
        describe(tmp_path / "nothing")
