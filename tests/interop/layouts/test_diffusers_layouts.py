"""Folders of diffusers' classes, and their files alone, become the same functions in float32."""

import json
import shutil

import numpy as np
import pytest
import reference
from reference import INPUTS, assert_equal, assert_same_network, assert_same_params
from safetensors.numpy import load_file, save_file
from small_files import change_config

from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.interop import load

FILE = "diffusion_pytorch_model.safetensors"
TWO = {"layers_per_block": 2}
# model, its size, and its fields where they differ from what a lone file is guessed to have
UNETS = {
    "sd1": (TWO, {}),
    "sd2": ({}, {"head_dim": 16}),
    "upscaler": ({}, {}),
    "svd": ({}, {"head_dim": 16}),
}
AUTOENCODERS = [
    ("autoencoder", {"levels": 2, **TWO}),  # SD's but for the number of levels
    ("autoencoder", {"levels": 3}),  # the x4 upscaler's
    ("temporal_autoencoder", {}),
]
MIDDLE = ".mid_block.attentions.0."
OLD = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def assert_same_unet(net, name):
    model = getattr(reference, name)(**UNETS[name][0])
    if name == "svd":
        assert net.kind == "video_unet"
        assert_equal(reference.call_svd(net), reference.run_svd(model))
    else:
        assert net.kind == "unet"
        assert_equal(reference.call_unet(net), reference.run_unet(model))


def assert_same_autoencoder(net, model):
    assert net.kind == "autoencoder"
    for ours, theirs in zip(net.encode(INPUTS.x), reference.run_encode(model), strict=True):
        assert_equal(ours, theirs)
    if net.fields["temporal_decoder"]:
        assert_equal(net.decode(INPUTS.video), reference.run_decode_video(model))
    else:
        assert_equal(net.decode(INPUTS.z), reference.run_decode(model))


def lone(folder, target):
    """The folder's weights with nothing beside them."""
    return shutil.copy(folder / FILE, target / "model.safetensors")


@pytest.mark.parametrize(
    "name",
    ["sd2", "upscaler", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sd1", "svd"))],
)
def test_unet_folder(saved, name):
    assert_same_unet(load(saved(name, **UNETS[name][0])), name)


@pytest.mark.parametrize("name", UNETS)
def test_unet_file_without_a_config(saved, tmp_path, name):
    size, fields = UNETS[name]
    folder = saved(name, **size)
    net, plain = load(lone(folder, tmp_path), fields=fields), load(folder)
    if name != "upscaler":
        assert_same_network(net, plain)
        return
    # A level without attention shows no width of its keys; that it has none is a pass to see.
    only = "only_cross_attention"
    assert (net.fields[only], plain.fields[only]) == ((False, True), (True, True))
    assert net.fields == plain.fields | {only: net.fields[only]}
    assert_same_unet(net, name)


@pytest.mark.parametrize("name", ["sd2", "svd"])
def test_linear_projections_mean_heads_of_64_without_a_config(tmp_path, name):
    heads = "attention_head_dim" if name == "sd2" else "num_attention_heads"
    wide = {"block_out_channels": (64, 128), heads: (1, 2)}
    getattr(reference, name)(**wide).save_pretrained(tmp_path / "folder")
    assert load(lone(tmp_path / "folder", tmp_path)).fields["head_dim"] == 64
    assert load(tmp_path / "folder").fields["head_dim"] == 64


def test_number_of_heads_given_instead_of_their_width(saved, tmp_path):
    net = load(lone(saved("sd2"), tmp_path), fields={"heads": [2, 4]})
    assert (net.fields["heads"], net.fields["head_dim"]) == ((2, 4), None)
    assert_same_params(net, load(saved("sd2")))


@pytest.mark.parametrize(("name", "size"), AUTOENCODERS)
def test_autoencoder_folder(saved, name, size):
    assert_same_autoencoder(load(saved(name, **size)), getattr(reference, name)(**size))


@pytest.mark.parametrize(("name", "size"), AUTOENCODERS)
def test_autoencoder_file_without_a_config(saved, tmp_path, name, size):
    folder = saved(name, **size)
    net, plain = load(lone(folder, tmp_path)), load(folder)
    # An f4 autoencoder alone is the upscaler's, whose scale is another.
    scale = 0.08333 if size.get("levels") == 3 else 0.18215
    assert net.fields == plain.fields | {"latent_scale": scale}
    assert net.kind == plain.kind
    assert_same_params(net, plain)


@pytest.mark.parametrize(("given", "expected"), [("absent", 0.18215), (None, 0.18215), (1, 1)])
def test_scale_is_the_folders_or_stable_diffusions(saved, tmp_path, given, expected):
    folder = shutil.copytree(saved("autoencoder", levels=3), tmp_path / "vae")
    config = json.loads((folder / "config.json").read_text()) | {"scaling_factor": given}
    if given == "absent":
        del config["scaling_factor"]
    (folder / "config.json").write_text(json.dumps(config))
    assert load(folder).fields["latent_scale"] == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_scale_that_json_has_not_is_refused_with_its_file(weights, value):
    file = weights("autoencoder")
    change_config(file, scaling_factor=value)
    with pytest.raises(InputError, match=r"config\.json: not a table of settings \(not JSON: "):
        load(file.parent)


@pytest.mark.parametrize("value", [0, -0.18, "0.18", [0.18], True, {}])
def test_a_scale_that_is_no_positive_number(weights, value):
    file = weights("autoencoder")
    change_config(file, scaling_factor=value)
    with pytest.raises(InputError) as caught:
        load(file.parent)
    told = f"scaling_factor = {value!r} is no positive number: correct the entry"
    assert str(caught.value) == f"{file.with_name('config.json')}: {told}"


@pytest.mark.parametrize("convolution", [False, True], ids=["linear", "convolution"])
@pytest.mark.parametrize("old", [False, True], ids=["to_q", "query"])
@pytest.mark.parametrize("config", [False, True], ids=["file", "folder"])
def test_keys_of_the_middle_attention(saved, tmp_path, convolution, old, config):
    folder = saved("autoencoder", levels=2)
    tensors = {}
    for key, tensor in load_file(folder / FILE).items():
        for new in OLD:
            if f"{MIDDLE}{new}." in key:
                if convolution and key.endswith("weight"):
                    tensor = tensor[:, :, None, None]
                key = key.replace(f"{MIDDLE}{new}.", f"{MIDDLE}{OLD[new] if old else new}.")
        tensors[key] = tensor
    save_file(tensors, tmp_path / FILE)
    if config:
        shutil.copy(folder / "config.json", tmp_path)
    assert_same_network(load(tmp_path / FILE), load(folder))


@pytest.mark.parametrize("name", ["sd1", "svd", "temporal_autoencoder"])
def test_shards_with_an_index(saved, tmp_path, name):
    getattr(reference, name)().save_pretrained(tmp_path, max_shard_size="300KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert_same_network(load(tmp_path), load(saved(name)))


@pytest.mark.parametrize("stored", ["float16", "bfloat16"])
@pytest.mark.parametrize("asked", [None, "float32", "float16", "bfloat16"])
def test_types_are_kept_or_cast_as_torch_casts(saved, tmp_path, stored, asked):
    torch = reference.torch
    model = reference.sd1().to(getattr(torch, stored))
    model.save_pretrained(tmp_path)
    net = load(tmp_path, dtype=asked)
    wanted = model.to(getattr(torch, asked or stored)).conv_in.weight.permute(2, 3, 1, 0)
    kernel = net.params["conv_in"]["kernel"]
    assert kernel.dtype == (asked or stored)
    np.testing.assert_array_equal(
        np.asarray(kernel).astype(np.float32), wanted.detach().float().numpy()
    )
    assert {leaf.dtype.name for leaf in paths.flatten(net.params).values()} == {asked or stored}
