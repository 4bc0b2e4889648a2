"""Weights files: what goes in comes out, and a bad file says what is wrong with it."""

import json

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from vldm_jax.checkpoint import weights
from vldm_jax.core import paths
from vldm_jax.core.errors import InputError

PARAMS = {
    "conv_in": {"kernel": jnp.arange(6.0).reshape(2, 3) / 7, "bias": jnp.zeros(3)},
    "scale": jnp.float32(0.1),
    "index": jnp.arange(3),
}
META = {"kind": "unet", "config": {"channels": [8, 16]}, "steps": 5}


def assert_same(a, b):
    a, b = paths.flatten(a), paths.flatten(b)
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].shape == b[name].shape
        np.testing.assert_array_equal(a[name], b[name])


def test_round_trip(tmp_path):
    weights.save_weights(tmp_path / "a.safetensors", PARAMS, META)
    params, meta = weights.load_weights(tmp_path / "a.safetensors")
    assert_same(params, PARAMS)
    assert meta == META
    assert params["scale"].shape == ()
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]
    (tmp_path / "plain").touch()
    assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize(
    ("dtype", "kind", "bound"),
    [
        ("float32", np.float32, 0),
        ("bfloat16", ml_dtypes.bfloat16, 2**-8),
        ("float16", np.float16, 2**-11),
    ],
)
def test_casting_rounds_floats_and_leaves_integers(tmp_path, dtype, kind, bound):
    path = tmp_path / "a.safetensors"
    weights.save_weights(path, PARAMS, META, dtype=dtype)
    params, _ = weights.load_weights(path)
    kernel = params["conv_in"]["kernel"]
    assert kernel.dtype == kind
    assert params["index"].dtype == np.int32
    exact = np.asarray(PARAMS["conv_in"]["kernel"])
    assert np.all(np.abs(kernel.astype(np.float32) - exact) <= bound * np.abs(exact))
    back, _ = weights.load_weights(path, dtype="float32")
    assert back["conv_in"]["kernel"].dtype == np.float32


def test_a_value_that_does_not_fit_is_refused_and_nothing_written(tmp_path):
    with pytest.raises(InputError, match="'big' in .* too large for float16: use bfloat16"):
        weights.save_weights(
            tmp_path / "a.safetensors", {"big": jnp.float32(1e5)}, META, dtype="float16"
        )
    with pytest.raises(InputError, match="dtype='int8'"):
        weights.save_weights(tmp_path / "a.safetensors", PARAMS, META, dtype="int8")
    assert list(tmp_path.iterdir()) == []


def test_a_description_needs_kind_and_config(tmp_path):
    with pytest.raises(ValueError, match=r"lacks \['config'\]"):
        weights.save_weights(tmp_path / "a.safetensors", PARAMS, {"kind": "unet"})


def truncated(path):
    path.write_bytes(path.read_bytes()[:-4])


def longer(path):
    path.write_bytes(path.read_bytes() + b"more")


def lying(path):
    """Claim another shape for an array in the header, whose size stays the same."""
    data = path.read_bytes()
    assert b'"shape":[2,3]' in data
    path.write_bytes(data.replace(b'"shape":[2,3]', b'"shape":[9,3]'))


def pickled(path):
    path.write_bytes(b"\x80\x04}q\x00.")


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncated, longer, lying, pickled, empty])
def test_a_damaged_file_is_named(tmp_path, damage):
    path = tmp_path / "a.safetensors"
    weights.save_weights(path, PARAMS, META)
    damage(path)
    with pytest.raises(InputError, match=f"{path} is no whole safetensors file"):
        weights.load_weights(path)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "without a 'vldm' description, .* vldm convert import"),
        ({"format": "pt"}, "without a 'vldm' description, .* vldm convert import"),
        ({"vldm": "{"}, "not JSON"),
        ({"vldm": 5000 * '{"a":' + "1" + 5000 * "}"}, "nested too deeply"),
        ({"vldm": json.dumps({"kind": "unet"})}, "lacks its 'kind' or 'config'"),
        ({"vldm": json.dumps({"kind": ["unet"], "config": {}})}, "lacks its 'kind' or 'config'"),
        ({"vldm": json.dumps({"kind": "unet", "config": []})}, "lacks its 'kind' or 'config'"),
        ({"vldm": "[]"}, "must be an object"),
    ],
)
def test_a_foreign_file_is_named(tmp_path, metadata, message):
    path = tmp_path / "a.safetensors"
    save_file({"a": np.zeros(2)}, path, metadata=metadata)
    with pytest.raises(InputError, match=message) as error:
        weights.load_weights(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    "entry",
    [
        {"backbone": "x"},
        {"backbone": {"name": "image.safetensors"}},
        {"backbone": {"name": "image.safetensors", "sha256": 5}},
        {"unknown": ["labels"]},
        {"unknown": {"labels": "night"}},
        {"same_latents_as": "a"},
        {"same_latents_as": [1]},
        {"latents": 3},
        {"autoencoder_sha256": None},
        {"diffusion": "v"},
        {"image_model": []},
        {"settings": 1},
        {"size": [8]},
        {"size": [8.5, 8]},
        {"num_frames": "3"},
        {"steps": "7"},
        {"kind": "autoencoder", "config": {"latent_scale": None}},
    ],
    ids=str,
)
def test_an_odd_entry_is_named(tmp_path, entry):
    path = tmp_path / "a.safetensors"
    weights.save_weights(path, PARAMS, META | entry)
    named = "latent_scale" if "kind" in entry else next(iter(entry))
    with pytest.raises(InputError, match=f"{path} is damaged: .*{named}"):
        weights.read_meta(path)


@pytest.mark.parametrize(
    "names",
    [("a", "a/b"), ("a//b",), ("/a",), ("/".join(100 * "a"),)],
    ids=lambda names: names[0][:5],
)
def test_names_that_make_no_tree_are_refused(tmp_path, names):
    path = tmp_path / "a.safetensors"
    save_file({name: np.zeros(2) for name in names}, path, metadata={"vldm": json.dumps(META)})
    with pytest.raises(InputError, match=f"{path}: .* is no path of an array in a tree"):
        weights.load_weights(path)


def test_an_array_of_too_many_axes_is_named(tmp_path):
    path = tmp_path / "a.safetensors"
    entry = {"dtype": "F32", "shape": 65 * [1], "data_offsets": [0, 4]}
    header = json.dumps({"__metadata__": {"vldm": json.dumps(META)}, "a": entry}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(InputError, match=f"{path}.* cannot be read"):
        weights.load_weights(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="there is no weights file .*nothing"):
        weights.load_weights(tmp_path / "nothing.safetensors")


def test_layers_are_refused_on_another_backbone():
    meta = {"backbone": {"name": "image.safetensors", "sha256": 64 * "a"}}
    weights.check_backbone("temporal.safetensors", meta, "mine.safetensors", 64 * "a")
    message = r"temporal.safetensors stands on the backbone image.safetensors .* not mine"
    with pytest.raises(InputError, match=message):
        weights.check_backbone("temporal.safetensors", meta, "mine.safetensors", 64 * "b")
    with pytest.raises(InputError, match="does not say which backbone.*--onto mine.safetensors"):
        weights.check_backbone("temporal.safetensors", {}, "mine.safetensors", 64 * "a")


def test_a_value_too_large_is_seen_beside_one_that_is_none():
    array = np.array([np.nan, 1e6], np.float32)
    with pytest.raises(InputError, match="'w' in a.safetensors has values too large for float16"):
        weights.cast("a.safetensors", "w", array, "float16")
    kept = weights.cast("a.safetensors", "w", np.array([np.nan, np.inf, 1.0]), "float16")
    np.testing.assert_array_equal(kept, np.array([np.nan, np.inf, 1.0], np.float16))


def test_a_pointer_of_git_lfs_is_no_weights_file(tmp_path):
    file = tmp_path / "unet.safetensors"
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:5a\nsize 9\n")
    with pytest.raises(InputError, match="unet.safetensors is a Git LFS pointer.*git lfs pull"):
        weights.read_meta(file)
    assert not weights.is_weights(file)
