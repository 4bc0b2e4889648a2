"""From a config's section to examples: what it names must be there."""

import json

import numpy as np
import pytest

from vldm_jax.config.base import base_config
from vldm_jax.config.data import build_source
from vldm_jax.core.errors import InputError
from vldm_jax.data.write import write_video


@pytest.fixture
def data(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (12, 16, 32, 3)).astype(np.uint8)
    write_video(tmp_path / "a.mp4", frames, 8)
    labels = {"names": ["night", "cars"], "clips": {"a.mp4": [1, 4]}}
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    data = base_config().data
    data.update(path=str(tmp_path), height=16, width=32, fps=8.0, num_frames=4)
    return data


@pytest.mark.parametrize(
    ("labels", "expected"),
    [(("cars", "night"), [4.0, 1.0]), (("night", "weather"), [1.0, np.nan])],
)
def test_labels_are_found_by_name(data, labels, expected):
    data.labels = labels
    np.testing.assert_array_equal(build_source(data)[0]["labels"], np.float32(expected))


def test_a_misspelt_label_is_no_unknown_one(data):
    data.labels = ("nigth", "cars")
    with pytest.raises(InputError, match="names 'nigth', which the data has not; did you mean 'ni"):
        build_source(data)
