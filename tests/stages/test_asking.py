"""What a config says of conditions, and of what samples are made with."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from vldm_jax.checkpoint.weights import load_weights, save_weights
from vldm_jax.conditions.labels import Labels
from vldm_jax.conditions.text import Text
from vldm_jax.config.base import denoising_config
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import sha256
from vldm_jax.stages.asking import made_with
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
