"""What is read of a run's workdir beside its weights: parameters, config and metrics."""

import dataclasses
import json
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict
from small_stages import Clips, config_of, leave, random_params

sys.path.insert(0, str(Path(__file__).parents[1] / "checkpoint"))

from small import Loader

from vldm_jax.checkpoint.manager import Checkpoints, check_workdir
from vldm_jax.checkpoint.weights import WEIGHTS, load_weights
from vldm_jax.cli import main as entry
from vldm_jax.cli.run_config import run_config
from vldm_jax.cli.sample import sample
from vldm_jax.core.errors import InputError
from vldm_jax.core.paths import flatten
from vldm_jax.export.trained import describe_run
from vldm_jax.interop import load
from vldm_jax.sampling.sampler import Sampler
from vldm_jax.stages.image import ImageStage
from vldm_jax.stages.plan import make_plan
from vldm_jax.stages.table import STAGES
from vldm_jax.training.state import TrainState, split_params


def leave_run(config, workdir, step=0):
    """Write a workdir as a run of the config leaves it; return its trained parameters."""
    shapes = make_plan(config).stage.shapes()
    trained, _ = split_params(random_params(shapes, seed=5), config.train.rules)
    state = TrainState(step=np.int32(step), params=trained, opt_state=(), ema=trained)
    with closing(Checkpoints(workdir / "checkpoints", config=config.to_dict())) as checkpoints:
        checkpoints.save(step, state, Loader(step))
    leave(config, workdir / WEIGHTS)
    return trained


@pytest.mark.parametrize(
    "name",
    ["autoencoder", "image", "video", "detector", pytest.param("whole", marks=pytest.mark.slow)],
)
def test_raw_is_what_a_stage_of_any_kind_trained(image, video, tmp_path, name):
    alone = {kind: lambda kind=kind: config_of(kind) for kind in ("autoencoder", "detector")}
    make = {**alone, "image": image}
    config = make.get(name, video)()
    if name == "whole":
        with config.unlocked():
            config.train.rules = (("", "all"),)
            config.train.groups = ConfigDict({"all": (1.0, 1.0)})
    trained = leave_run(config, tmp_path / "run")
    argv = ("convert", "export", str(tmp_path / "run"), "--to", "weights", "--raw", "--out")
    assert entry.main([*argv, str(tmp_path / "out")]) == 0
    (file,) = (tmp_path / "out").glob("*.safetensors")
    exported = flatten(load_weights(file)[0])
    tree = flatten(trained[STAGES[config.objective.kind].exported])
    assert exported.keys() == tree.keys()
    for path, leaf in tree.items():
        np.testing.assert_array_equal(exported[path], leaf, err_msg=path)


def test_the_last_record_is_found_among_what_is_none(image, tmp_path):
    leave(image(), tmp_path / WEIGHTS)
    network = load(str(tmp_path))
    lines = [b'{"step": 1, "loss": 0.5}', b'{"step": 2, "loss": 0.25}', b"\xff\xfe", b'{"a": 1}']
    (tmp_path / "metrics.jsonl").write_bytes(b"\n".join([*lines, b"[3]", b'{"step": 3, "lo']))
    describe_run(network, tmp_path)
    assert network.meta["metrics"] == {"step": 2, "loss": 0.25}


def test_all_records_of_the_last_step_count(image, tmp_path):
    leave(image(), tmp_path / WEIGHTS)
    network = load(str(tmp_path))
    lines = [{"step": 1, "eval/fvd": 9.0}, {"step": 2, "loss": 0.25}, {"step": 2, "eval/fvd": 7.0}]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    describe_run(network, tmp_path)
    assert network.meta["metrics"] == {"step": 2, "loss": 0.25, "eval/fvd": 7.0}


def test_the_config_of_an_earlier_version_has_what_came_since_and_is_of_the_same_run(
    image, tmp_path
):
    config = image()
    earlier = config.to_dict()
    del earlier["evals"], earlier["train"]["evaluate_every"]
    with closing(Checkpoints(tmp_path / "checkpoints", config=earlier)) as checkpoints:
        checkpoints.save(1, {"a": np.zeros(2)}, Loader(1))
    assert run_config(tmp_path).to_dict() == config.to_dict()
    make_plan(run_config(tmp_path, ["--config.train.evaluate_every=7"]))
    check_workdir(tmp_path / "checkpoints", config.to_dict())


def test_a_config_that_was_changed_is_not_taken(image, tmp_path):
    config = image()
    for step in (1, 2):
        leave_run(config, tmp_path, step)
    assert run_config(tmp_path).to_dict() == config.to_dict()
    stored = tmp_path / "checkpoints" / "2" / "config" / "metadata"
    stored.write_text(stored.read_text().replace('"seed": 0', '"seed": 7'))
    assert run_config(tmp_path).seed == 0  # step 1 has it whole
    network = load(str(tmp_path / WEIGHTS))
    describe_run(network, tmp_path)
    assert network.meta["data"]["fps"] == config.data.fps
    earlier = tmp_path / "checkpoints" / "1" / "config" / "metadata"
    earlier.write_text("{}")
    with pytest.raises(InputError, match="holds no checkpoint, or none that is whole"):
        run_config(tmp_path)


class Still(Sampler):
    """A sampler whose samples are black."""

    def in_batches(self, params, key, index, cond, size):
        yield np.zeros((len(index), 1, 8, 8, 3), np.uint8)


@pytest.mark.parametrize("labels", [("binary", "count"), ()])
def test_unknown_labels_are_spoken_of_to_networks_that_take_labels(
    image, tmp_path, monkeypatch, capsys, labels
):
    tokens = None if labels == () else 8
    config = image(model={"network": {"label_tokens": labels, "context_dim": tokens}})
    source = Clips()
    source.unknown = {"labels": ("cars",)}
    leave(config, tmp_path / WEIGHTS, source=source)

    def sampler(stage, make=ImageStage.sampler):
        parts = make(stage)
        return Still(**{f.name: getattr(parts, f.name) for f in dataclasses.fields(parts)})

    monkeypatch.setattr(ImageStage, "sampler", sampler)
    sample(config, str(tmp_path / WEIGHTS), tmp_path / "out")
    said = capsys.readouterr().out
    assert ("labels cars were unknown in training" in said) == bool(labels)
    assert "samples of 1 frame, and contact_sheet.png" in said


def test_a_stage_without_samples_names_those_that_have(tmp_path):
    with pytest.raises(
        InputError, match="'autoencoder' has nothing to sample: .* has, image or video"
    ):
        sample(config_of("autoencoder"), str(tmp_path / WEIGHTS), tmp_path / "out")
