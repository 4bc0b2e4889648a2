"""What is read is written again bit by bit, and loads in the public class with nothing amiss."""

import itertools
import json

import jax
import pytest
import reference
import small_files
from reference import assert_equal, assert_same_network
from safetensors.numpy import load_file as load_arrays

from vldm_jax.interop import export, load, save

torch, diffusers = reference.torch, reference.diffusers


def motion_unet():
    """A U-Net with motion modules in it."""
    adapter = reference.motion_adapter(middle=True, max_frames=32)
    return diffusers.UNetMotionModel.from_unet2d(reference.sd1(), adapter).eval()


# name -> (model, its call); modules alone have no call
KINDS = {
    "sd1": (reference.sd1, reference.run_unet),
    "sd2": (reference.sd2, reference.run_unet),
    "upscaler": (reference.upscaler, reference.run_unet),
    "svd": (reference.svd, reference.run_svd),
    "autoencoder": (reference.autoencoder, reference.run_decode),
    "temporal_autoencoder": (reference.temporal_autoencoder, reference.run_decode_video),
    "text_encoder": (reference.text_encoder, reference.run_text),
    "motion_adapter": (
        lambda: reference.motion_adapter(middle=True, max_frames=24, layers=2),
        None,
    ),
    "motion_unet": (motion_unet, reference.run_motion_unet),
}


class Pair:
    """A public model, and the network that was read from its folder."""

    def __init__(self, name, folder):
        make, self.run = KINDS[name]
        self.model = make()
        self.model.save_pretrained(folder)
        self.net = load(folder)


QUICK = ("sd2", "autoencoder", "temporal_autoencoder", "text_encoder")


@pytest.fixture(
    scope="module",
    params=[pytest.param(kind, marks=() if kind in QUICK else pytest.mark.slow) for kind in KINDS],
)
def pair(request, tmp_path_factory):
    return Pair(request.param, tmp_path_factory.mktemp(request.param))


def from_pretrained(cls, folder, **kwargs):
    """Load an export; anything missing or left over is an error."""
    model, info = cls.from_pretrained(folder, output_loading_info=True, **kwargs)
    problems = {name: value for name, value in info.items() if value}
    assert problems == {}
    return model.eval()


def assert_same_state(model, other):
    ours, theirs = model.state_dict(), other.state_dict()
    assert ours.keys() == theirs.keys()
    for key, tensor in ours.items():
        assert tensor.dtype == theirs[key].dtype
        if key.endswith(".pe"):  # a table of sines, computed here and there
            torch.testing.assert_close(tensor, theirs[key], rtol=0.0, atol=2e-6)
        else:
            assert torch.equal(tensor, theirs[key]), key


def test_import_export_import_is_exact(pair, tmp_path):
    assert export(pair.net, tmp_path / "out") == []
    assert_same_network(load(tmp_path / "out"), pair.net)


def test_own_weights_file_is_exact(pair, tmp_path):
    save(pair.net, tmp_path / "own.safetensors")
    assert_same_network(load(tmp_path / "own.safetensors"), pair.net)


def test_the_public_class_loads_an_export(pair, tmp_path):
    """And computes what it did: that `pair.net` does, too, is for the tests of the layouts."""
    export(pair.net, tmp_path / "out")
    model = from_pretrained(type(pair.model), tmp_path / "out")
    assert_same_state(model, pair.model)
    if pair.run is not None:
        assert_equal(pair.run(model), pair.run(pair.model))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_export_in_half_precision_rounds_as_torch_does(pair, tmp_path, dtype):
    export(pair.net, tmp_path / "out", dtype=dtype)
    kind = getattr(torch, dtype)
    name = "dtype" if isinstance(pair.model, reference.transformers.PreTrainedModel) else None
    model = from_pretrained(type(pair.model), tmp_path / "out", **{name or "torch_dtype": kind})
    stored = {tensor.dtype for tensor in model.parameters()}
    assert stored == {kind}
    for key, parameter in dict(pair.model.named_parameters()).items():
        assert torch.equal(model.get_parameter(key), parameter.to(kind)), key
    assert {leaf.dtype.name for leaf in jax.tree.leaves(load(tmp_path / "out").params)} == {dtype}


def test_shards_load_in_the_public_class(pair, tmp_path):
    export(pair.net, tmp_path / "out", shard_bytes=400_000)
    files = sorted((tmp_path / "out").glob("*.safetensors"))
    shards = [[array.nbytes for array in load_arrays(file).values()] for file in files]
    sizes = [sum(shard) for shard in shards]
    assert all(
        size <= 400_000 or len(shard) == 1 for size, shard in zip(sizes, shards, strict=True)
    )
    assert all(a + b > 400_000 for a, b in itertools.pairwise(sizes))  # none smaller than need be
    assert_same_state(from_pretrained(type(pair.model), tmp_path / "out"), pair.model)
    assert_same_network(load(tmp_path / "out"), pair.net)


def test_settings_that_pipelines_read_come_back(weights, tmp_path):
    """Size and precision of attention are not about the outputs, but a pipeline asks for them."""
    file = weights("unet")
    small_files.change_config(file, sample_size=12, upcast_attention=True)
    net = load(file.parent)
    export(net, tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["sample_size"] == 12 and config["upcast_attention"] is True
    layers = small_files.temporal_of(small_files.network("video_unet"))
    export(layers.onto(net), tmp_path / "video")
    config = json.loads((tmp_path / "video" / "config.json").read_text())
    assert config["sample_size"] == 12 and "upcast_attention" not in config
