"""Trained layers on clips of another length or size: which can, and what the others say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_stages import FRAMES, leave

from vldm_jax.checkpoint.weights import load_weights, save_weights
from vldm_jax.core.errors import InputError
from vldm_jax.core.paths import flatten
from vldm_jax.stages.table import make_stage

ANY = {"temporal.mix": "scalar", "temporal.positions": "relative"}


@pytest.fixture
def trained(video, tmp_path):
    """Make a file of layers that learned from clips of 3 frames; then a stage that loads it."""

    def make(layers, **data):
        path = tmp_path / "trained.safetensors"
        leave(video(model=layers), path)
        sections = {"model": layers, "data": data, "sampling": {"steps": 1}}
        return make_stage(video(**sections)), str(path)

    return make


@pytest.mark.parametrize(
    ("layers", "frames", "message"),
    [
        ({}, 5, r"has a mix for each of 3 frames: set config.data.num_frames=5 to that; for any"),
        ({}, 2, r"has a mix for each of 3 frames: set config.data.num_frames=2 to that"),
        ({"temporal.mix": "scalar"}, 5, r"knows the positions of 3 frames: .*=5 to at most that"),
    ],
)
def test_layers_that_know_a_length_are_sampled_at_no_other(trained, layers, frames, message):
    stage, weights = trained(layers, num_frames=frames)
    with pytest.raises(InputError, match=message) as error:
        stage.load(weights)
    assert "\n" not in str(error.value) and "positions='relative'" in str(error.value)


@pytest.mark.parametrize(
    ("layers", "frames"),
    [({"temporal.mix": "scalar"}, 2), ({"temporal.mix": "scalar"}, FRAMES), (ANY, 2), (ANY, 40)],
)
def test_positions_that_were_seen_and_those_that_know_no_length_load(trained, layers, frames):
    stage, weights = trained(layers, num_frames=frames)
    params, _ = stage.load(weights)
    stored, _ = load_weights(weights)
    loaded = flatten(params["network"])
    assert all(np.array_equal(loaded[path], leaf) for path, leaf in flatten(stored).items())


def test_longer_and_larger_clips_are_sampled_with_the_same_layers(trained):
    """A limit of distance may be set when they are sampled."""
    layers = ANY | {"temporal.norms": "per_frame"}
    stage, weights = trained(layers, num_frames=7, height=16, width=24)
    limited = stage.config.copy_and_resolve_references()
    with limited.unlocked():
        limited.model.temporal.max_frame_distance = 2
    stage = make_stage(limited)
    params, _ = stage.load(weights)
    frames = stage.sampler()(params, jax.random.key(0), jnp.arange(1), stage.request(1))
    assert frames.shape == (1, 7, 16, 24, 3)


def test_a_size_that_the_autoencoder_cannot_halve_is_named(trained):
    stage, weights = trained(ANY, height=9, width=24)
    with pytest.raises(InputError, match="config.data.height and width, 9x24, must be multiples"):
        stage.load(weights)


def test_norms_are_part_of_what_layers_were_trained_for(trained, tmp_path):
    """Those of a file from before there was the choice are joint."""
    stage, weights = trained(ANY)
    other = stage.config.copy_and_resolve_references()
    with other.unlocked():
        other.model.temporal.norms = "per_frame"
    arrays, meta = load_weights(weights)
    older = {**meta["config"]["temporal"]}
    assert older.pop("norms") == "joint"
    meta = {**meta, "config": {**meta["config"], "temporal": older}}
    save_weights(tmp_path / "older.safetensors", arrays, meta)
    for path in (weights, str(tmp_path / "older.safetensors")):
        stage.load(path)
        with pytest.raises(InputError, match="network/temporal/norms is joint there and per_fra"):
            make_stage(other).load(path)
