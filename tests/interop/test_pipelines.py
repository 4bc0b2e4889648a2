"""Folders of several networks: all of them, or one."""

import json
import shutil

import pytest
import reference
import small_files
from reference import assert_same_network

from vldm_jax.core.errors import InputError
from vldm_jax.interop import Pipeline, load, save
from vldm_jax.interop.find import find

# sub-folder -> its model, which the tests of the layouts compare with torch
PARTS = {"unet": ("sd2",), "vae": ("autoencoder",), "text_encoder": ("text_encoder", "gelu")}


@pytest.fixture(scope="module")
def folder(saved, tmp_path_factory):
    """A text-to-image pipeline as diffusers saves it, with parts that hold no network of ours."""
    root = tmp_path_factory.mktemp("pipeline")
    for name, (model, *args) in PARTS.items():
        shutil.copytree(saved(model, *args), root / name)
    scheduler = reference.diffusers.DDIMScheduler(beta_schedule="scaled_linear")
    scheduler.save_pretrained(root / "scheduler")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "safety_checker": [None, None],
    }
    (root / "model_index.json").write_text(json.dumps(index))
    return root


@pytest.fixture
def assert_is(saved):
    """Insist that a network is the one of a name, as it is read from a folder of its own."""
    return lambda net, name: assert_same_network(net, load(saved(*PARTS[name])))


def test_all_networks_of_a_pipeline(folder, assert_is):
    pipeline = load(folder)
    assert isinstance(pipeline, Pipeline) and pipeline.tokenizer is None
    assert set(pipeline) == {"unet", "vae", "text_encoder"}
    for name, net in pipeline.items():
        assert_is(net, name)


@pytest.mark.parametrize("name", ["unet", "vae", "text_encoder"])
def test_one_network_of_a_pipeline(folder, assert_is, name):
    assert_is(load(folder, name), name)
    assert_is(load(folder / name), name)


def test_one_network_is_read_whatever_the_others_are(folder, assert_is, tmp_path):
    damaged = shutil.copytree(folder, tmp_path / "damaged")
    (damaged / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"not a file of tensors")
    assert_is(load(damaged, "unet"), "unet")
    with pytest.raises(InputError, match=r"vae/diffusion_pytorch_model.safetensors is no whole"):
        load(damaged)


def test_a_part_that_is_not_there(folder):
    with pytest.raises(InputError, match=r"no part 'vocoder'; it has unet, vae, text_encoder"):
        load(folder, "vocoder")


def test_a_pipeline_of_one_network_is_still_a_pipeline(folder, tmp_path):
    shutil.copytree(folder / "vae", tmp_path / "vae")
    shutil.copy(folder / "model_index.json", tmp_path)
    pipeline = load(tmp_path)
    assert isinstance(pipeline, Pipeline) and set(pipeline) == {"vae"}


def test_animatediff_pipeline(saved, tmp_path):
    """Motion modules lie beside the U-Net that they go onto."""
    models = {"unet": saved("sd1")}
    models["motion_adapter"] = saved("motion_adapter", middle=True, max_frames=32)
    for name, model in models.items():
        shutil.copytree(model, tmp_path / name)
    (tmp_path / "model_index.json").write_text('{"_class_name": "AnimateDiffPipeline"}')
    pipeline = load(tmp_path)
    assert pipeline["motion_adapter"].onto(pipeline["unet"]).kind == "video_unet"
    for name, model in models.items():
        assert_same_network(pipeline[name], load(model))


def test_no_moving_average_in_folders_pipelines_and_our_own_files(small, tmp_path):
    own = tmp_path / "weights.safetensors"
    save(small_files.network("unet"), own)
    shutil.copytree(small / "unet", tmp_path / "pipeline" / "unet")
    (tmp_path / "pipeline" / "model_index.json").write_text("{}")
    for path in (small / "unet", tmp_path / "pipeline", own):
        told = (
            r"\S* has no moving average beside its weights: leave ema \(--ema\) out to read those"
        )
        with pytest.raises(InputError, match=f"^{path}{told}$"):
            load(path, ema=True)


def test_what_an_import_records_does_not_depend_on_where_the_file_lay(weights, tmp_path):
    file = weights("unet")
    there = shutil.copytree(file.parent, tmp_path / "other" / "place")
    found = [find(str(folder))["unet"].meta for folder in (file.parent, there)]
    assert found == [{"imported_from": file.name}] * 2
