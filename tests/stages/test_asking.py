"""What a config says of conditions, and of what samples are made with."""

import numpy as np
import pytest
from safetensors.numpy import save_file
from small_stages import random_clips

from vldm_jax.checkpoint.weights import load_weights, save_weights
from vldm_jax.conditions.labels import Labels
from vldm_jax.conditions.text import Text
from vldm_jax.config.base import denoising_config
from vldm_jax.config.data import SOURCES, Row
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import sha256
from vldm_jax.stages.asking import asked_in_words, made_with
from vldm_jax.stages.samples import real_clips
from vldm_jax.stages.table import make_stage


def test_samples_know_a_text_by_what_is_in_its_file(tmp_path):
    """Another text under the same name makes other samples."""
    config, file = denoising_config(), tmp_path / "context.safetensors"
    with config.unlocked():
        config.sampling.context = config.model.null_context = str(file)
    seen = []
    for value in (0.0, 1.0):
        save_file({"context": np.full((1, 1, 4), value, np.float32)}, file)
        seen.append(made_with((Text(width=4),), config, {}))
        same = {"model.null_context": sha256(file), "sampling.context": sha256(file)}
        assert seen[-1]["text_sha256"] == same
    assert seen[0] != seen[1]


def test_a_recipe_says_what_samples_of_an_evaluation_are_asked_for(tmp_path):
    """What real clips bring is theirs; text, which no data brings, is a file's."""
    config, file = denoising_config(), tmp_path / "context.safetensors"
    labels, text = Labels(kinds=("binary",)), Text(width=4)
    save_file({"context": np.ones((1, 1, 4), np.float32)}, file)
    with config.unlocked():
        config.sampling.context = str(file)
        config.sampling.labels = ((1.0,), (0.0,))
    of_file = f"config.sampling.context in turn, SHA-256 {sha256(file)}"
    assert asked_in_words((), config, {"video"}) == "none"
    assert asked_in_words((labels,), config, {"labels"}) == "those of the real clips"
    assert asked_in_words((labels, text), config, {"labels"}) == {
        "labels": "those of the real clips", "context": of_file,
    }  # fmt: skip
    assert asked_in_words((labels,), config, {"video"}) == {
        "labels": "config.sampling.labels=[[1.0], [0.0]] in turn"
    }


def test_recipes_of_stages_say_it(image, tmp_path, monkeypatch):
    """Of labels, of text alone, and of nothing."""
    monkeypatch.setitem(SOURCES, "random", Row(random_clips))
    file = tmp_path / "context.safetensors"
    save_file({"context": np.ones((1, 3, 8), np.float32)}, file)
    data = {"kind": "random"}
    unlabelled = {"network.label_tokens": ()}

    def said(config):
        return real_clips(make_stage(config), clips=2, seed=0).recipe["conditions"]

    assert said(image(data=data)) == "those of the real clips"
    text = image(data=data | {"labels": "()"}, model=unlabelled)
    with text.unlocked():
        text.model.null_context = text.sampling.context = str(file)
    assert said(text) == {"context": f"config.sampling.context in turn, SHA-256 {sha256(file)}"}
    none = image(data=data, model=unlabelled | {"network.context_dim": None})
    assert said(none) == "none"


def test_samples_without_text_are_described_as_before():
    assert "text_sha256" not in made_with((Labels(kinds=("binary",)),), denoising_config(), {})


def test_labels_in_another_order_are_another_experiment(world, image):
    """They would swap their meaning, and no shape tells."""
    make_stage(image()).load(str(world["image"]))
    swapped = make_stage(image(data={"labels": ("cars", "night")}))
    with pytest.raises(InputError, match=r"columns/labels is \['night', 'cars'\] there"):
        swapped.load(str(world["image"]))
    with pytest.raises(InputError, match="columns/labels"):
        _ = make_stage(
            image(data={"labels": ("cars", "night")}, model={"init": world["image"]})
        ).files


def test_a_file_that_names_no_labels_loads_as_before(world, image, tmp_path):
    params, meta = load_weights(world["image"])
    assert meta.pop("columns") == {"labels": ["night", "cars"]}
    save_weights(tmp_path / "old.safetensors", params, meta)
    make_stage(image(data={"labels": ("cars", "night")})).load(str(tmp_path / "old.safetensors"))
