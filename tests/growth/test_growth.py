"""The house grows by a file and a row: toys from outside are trained and sampled with.

Files to touch, beside a config: solver, data source, stage, temporal family and network 2 (its own,
and the table of its family), conditioning input 2.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

sys.path.insert(0, str(Path(__file__).parents[1] / "stages"))

import toys
from small_stages import config_of, leave

from vldm_jax.checkpoint.weights import load_weights
from vldm_jax.cli.sample import sample
from vldm_jax.cli.train import train
from vldm_jax.conditions import CONDITIONS
from vldm_jax.config.base import base_config
from vldm_jax.config.data import CLIPS, SOURCES, Row
from vldm_jax.config.diffusion import SOLVERS
from vldm_jax.core.errors import InputError
from vldm_jax.core.paths import flatten
from vldm_jax.export.functions import network_functions
from vldm_jax.interop import load, save
from vldm_jax.interop.card import model_card
from vldm_jax.interop.weights import find_weights
from vldm_jax.models import table
from vldm_jax.stages.table import STAGES, make_stage


@pytest.fixture
def grown(monkeypatch):
    """Every toy, a row each."""
    monkeypatch.setitem(SOLVERS, "leap", toys.Leap)
    monkeypatch.setitem(SOURCES, "stripes", Row(toys.stripes, brings=(*CLIPS, "weather")))
    monkeypatch.setitem(CONDITIONS, "weather", toys.Weather)
    monkeypatch.setitem(table.FAMILIES, "before", toys.BeforeSpec)
    monkeypatch.setitem(table.MODULES, "linear", toys.Linear)
    monkeypatch.setitem(STAGES, "mean", toys.MeanStage)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """An autoencoder and an image model for the toys to stand on."""
    root = tmp_path_factory.mktemp("growth")
    files = {name: str(root / f"{name}.safetensors") for name in ("autoencoder", "image")}
    leave(config_of("autoencoder"), files["autoencoder"])
    leave(config_of("image", model={"autoencoder": files["autoencoder"]}), files["image"])
    return files


@pytest.mark.slow
def test_a_solver_a_source_a_condition_and_temporal_layers_from_outside(grown, files, tmp_path):
    """One run has them all: trained for two steps, sampled, and the condition has a say."""
    config = config_of("video", train={"log_every": 1, "sample_every": None})
    with config.unlocked():
        config.data.kind = "stripes"
        config.model.autoencoder, config.model.backbone = files["autoencoder"], files["image"]
        config.model.temporal = {"family": "before"}
        config.model.network.more_conditions = ({"kind": "weather"},)
        config.train.rules = (("temporal", "temporal"), ("", "frozen"))
        config.sampling.solver = ConfigDict({"kind": "leap", "share": 0.5})
        config.sampling.weather = ((1.0,), (2.0,))
        config.optim.lr = 0.1
    state = train(config, tmp_path / "run")
    assert int(state.step) == 2
    kept, meta = load_weights(tmp_path / "run" / "weights.safetensors")
    assert meta["config"]["temporal"]["family"] == "before"
    assert any("temporal_condition_weather" in path for path in flatten(kept))
    sample(config, str(tmp_path / "run"), tmp_path / "out")
    assert (tmp_path / "out" / "0001.mp4").is_file()


def test_a_condition_without_a_row_is_no_condition(files):
    config = config_of("video")
    with config.unlocked():
        config.model.network.more_conditions = ({"kind": "weather"},)
    with pytest.raises(InputError, match="unknown kind of condition 'weather'"):
        make_stage(config)


def test_a_network_from_outside_is_a_denoiser(grown, files, tmp_path):
    config = config_of("image", train={"sample_every": None})
    with config.unlocked():
        config.data.kind = "stripes"
        config.model.kind, config.model.network = "linear", {"out_channels": 4}
        config.model.autoencoder = files["autoencoder"]
        config.sampling.labels = ()
    train(config, tmp_path / "run")
    stage = make_stage(config)
    params, _ = stage.load(str(tmp_path / "run"))
    asked = {key: jnp.asarray(value) for key, value in stage.request(1).items()}
    frames = stage.sampler()(params, jax.random.key(0), jnp.arange(1), asked)
    assert frames.shape == (1, 1, 8, 8, 3)
    again = load(tmp_path / "run" / "weights.safetensors")
    assert (again.kind, again.fields) == ("linear", {"out_channels": 4})
    np.testing.assert_array_equal(
        again.params["only"]["kernel"], params["network"]["only"]["kernel"]
    )
    save(again, tmp_path / "again.safetensors")
    assert find_weights(str(tmp_path / "again.safetensors"), ("linear",), "--weights")
    assert "kind linear" in model_card(again)
    with pytest.raises(InputError, match="kind 'linear' is no program, only unet, "):
        network_functions(again, size=(2, 2), frames=1, tokens=1)


def test_a_stage_from_outside_is_trained(grown, tmp_path):
    config = base_config()
    config.data.update({"kind": "stripes", "path": ".", "workers": 0})
    config.objective.kind = "mean"
    config.optim.update({"lr": 0.2, "warmup_steps": 0})
    config.train.update({"batch_size": 4, "total_steps": 60, "precision": "float32"})
    config.train.rules, config.train.groups = (("", "all"),), ConfigDict({"all": (1.0, 0.0)})
    config.train.ema_decay = None
    train(config, tmp_path)
    colour = load_weights(tmp_path / "weights.safetensors")[0]["colour"]
    np.testing.assert_allclose(colour, 100 / 127.5 - 1, atol=0.15)  # half 0, half 200
    with pytest.raises(InputError, match="has nothing to sample"):
        make_stage(config).sampler()
