"""Stable Diffusion's x4 upscaler is the image upsampler of the house: weights, inputs, levels."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from ml_collections import ConfigDict
from reference import INPUTS, TOLERANCE, difference, first, last
from safetensors.numpy import save_file

from vldm_jax.cli.flags import load_config
from vldm_jax.core.paths import flatten
from vldm_jax.interop import load, save
from vldm_jax.stages.table import make_stage

torch = reference.torch
CONFIGS = Path(__file__).parents[2] / "configs" / "text2video"


@pytest.fixture(scope="module")
def upscaler(saved, tmp_path_factory):
    """The public U-Net, its weights file, and the stage that stands on both."""
    root = tmp_path_factory.mktemp("upscaler")
    network = load(saved("upscaler"))
    save(network, root / "x4.safetensors")
    save(load(saved("autoencoder", levels=3)), root / "f4.safetensors")
    tokens = np.zeros((1, 4, reference.CONTEXT), np.float32)
    save_file({"context": tokens}, root / "null.safetensors")
    return network, root, stage_on(network, root)


def stage_on(network, root, name="upsampler"):
    config = load_config(str(CONFIGS / f"{name}.py"), [])
    with config.unlocked():
        config.model.network = ConfigDict({**network.fields, "remat": False})
        config.model.autoencoder = str(root / "f4.safetensors")
        config.model.null_context = str(root / "null.safetensors")
        config.sampling.context = str(root / "null.safetensors")
        if name == "upsampler":
            config.model.init = str(root / "x4.safetensors")
        else:
            config.model.backbone = str(root / "x4.safetensors")
        config.data.path, config.data.height, config.data.width = ".", 32, 32
        config.objective.patch, config.objective.low_noise = 16, 9
        config.sampling.low_noise, config.train.precision = 5, "float32"
    return make_stage(config)


def test_its_weights_are_where_training_starts(upscaler):
    network, _, stage = upscaler
    ours = flatten(stage.init(jax.random.key(0))["network"])
    theirs = flatten(network.params)
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[path], theirs[path]) for path in theirs)


def test_the_stage_tells_it_what_the_public_one_is_told(upscaler):
    """Low-resolution pixels after the latents, the time of their noise as the class."""
    _, _, stage = upscaler
    low, time = jnp.asarray(INPUTS.z7[..., 4:]), jnp.asarray(INPUTS.levels)
    told = stage.told(low, time, INPUTS.z7.shape[1:3])
    params = {"network": stage.init(jax.random.key(0))["network"]}
    predict = stage.sampler().network
    z = jnp.asarray(INPUTS.z7[..., :4])[:, None]
    cond = {**told, "concat": told["concat"][:, None], "context": jnp.asarray(INPUTS.context)}
    ours = predict(params, z, jnp.asarray(INPUTS.time), cond)[:, 0]
    model = reference.upscaler()
    with torch.no_grad():
        theirs = model(
            first(INPUTS.z7), torch.from_numpy(INPUTS.time), torch.from_numpy(INPUTS.context),
            class_labels=torch.from_numpy(INPUTS.levels),
        ).sample  # fmt: skip
    assert difference(ours, last(theirs)) < TOLERANCE


def test_its_training_has_a_class_of_each_time_and_latents_of_the_patch(upscaler):
    _, _, stage = upscaler
    frames = jnp.zeros((16, 16, 16, 3), jnp.uint8)
    params = stage.given()
    z = stage.space.encode(params, {"image": frames}, "image", jax.random.key(0))
    told = stage.of_clip({"image": frames}, z, jax.random.key(1))
    assert z.shape == (16, 4, 4, 4) and told["concat"].shape == (16, 4, 4, 3)
    assert told["class_labels"].dtype == jnp.int32
    assert set(np.asarray(told["class_labels"]).tolist()) <= set(range(10))
    assert "class_labels" not in stage.needs and "context" in stage.needs


def test_temporal_layers_stand_on_it(upscaler):
    network, root, _ = upscaler
    stage = stage_on(network, root, "video_upsampler")
    params = flatten(stage.init(jax.random.key(0))["network"])
    theirs = flatten(network.params)
    assert all(np.array_equal(params[path], theirs[path]) for path in theirs)
    assert all("temporal" in path for path in params.keys() - theirs.keys())
