"""What pictures say of themselves: the rows of a sheet their captions, samples their weights."""

import json

import numpy as np
import pytest
from small_stages import Clips, config_of, leave, random_clips

from vldm_jax.checkpoint.weights import WEIGHTS
from vldm_jax.cli import train as command
from vldm_jax.cli.sample import sample
from vldm_jax.cli.train import train
from vldm_jax.config.data import SOURCES, Row
from vldm_jax.sampling.sampler import Sampler
from vldm_jax.stages.denoising import DenoisingStage
from vldm_jax.stages.plan import make_plan

ASKED = "((1.0, 2.0), (0.0, 3.0))"


@pytest.fixture
def sheets(monkeypatch):
    """Name what is drawn: a list of (file, captions); nothing is sampled."""
    drawn = []
    monkeypatch.setitem(SOURCES, "random", Row(random_clips))
    monkeypatch.setattr(
        command, "write_sheet", lambda path, videos, captions: drawn.append((path, captions))
    )
    monkeypatch.setattr(
        DenoisingStage,
        "preview",
        lambda stage, params, source, count: np.zeros((count, 1, 8, 8, 3), np.uint8),
    )
    return drawn


@pytest.mark.slow
def test_rows_of_a_preview_have_the_captions_of_samples(image, sheets, tmp_path):
    config = image(data={"kind": "random"}, sampling={"labels": ASKED, "num_videos": 3})
    config.train.total_steps = config.train.sample_every = 1
    train(config, tmp_path)
    ((path, captions),) = sheets
    assert path == tmp_path / "samples" / "00000001.png"
    assert captions == ["night 1, cars 2", "night 0, cars 3", "night 1, cars 2"]


def test_a_preview_does_not_claim_what_the_data_does_not_know(image):
    source = Clips()
    source.unknown = {"labels": ("cars",)}
    stage = make_plan(image(sampling={"labels": ASKED})).stage
    assert stage.preview_captions(source, 1) == ["night 1, cars any"]


def test_reconstructions_have_no_captions():
    assert make_plan(config_of("autoencoder")).stage.preview_captions(Clips(), 3) == []


def test_samples_say_which_step_their_weights_are_of(image, tmp_path, monkeypatch, capsys):
    def black(self, params, key, index, cond, size):
        yield np.zeros((len(index), 1, 8, 8, 3), np.uint8)

    monkeypatch.setattr(Sampler, "in_batches", black)
    config = image()
    leave(config, tmp_path / WEIGHTS, steps=7)
    sample(config, str(tmp_path / WEIGHTS), tmp_path / "out")
    assert f"{tmp_path / WEIGHTS}: the weights after step 7" in capsys.readouterr().out
    about = json.loads((tmp_path / "out" / "metadata.json").read_text())
    assert about["weights_steps"] == {"autoencoder": 0, "weights": 7}
