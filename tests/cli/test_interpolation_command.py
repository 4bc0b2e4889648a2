"""Interpolation and its baselines by `vldm evaluate`, `compare` and `sample`."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "stages"))

from small_stages import config_of, leave, random_clips

from vldm_jax.checkpoint.weights import WEIGHTS
from vldm_jax.cli import main as entry
from vldm_jax.config.data import SOURCES, Row
from vldm_jax.core.files import write_json

AVERAGE = "--config.sampling.method=average"
PAIRS = ["--figures", "psnr,flicker_pairs,flicker", "--clips", "3"]


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    monkeypatch.setenv("VLDM_FEATURE_CACHE", str(tmp_path / "numbers"))
    monkeypatch.setitem(SOURCES, "random", Row(random_clips))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run of a small model that is given frames 0 and 4 of 5."""
    root = tmp_path_factory.mktemp("interpolation")
    files = {name: root / f"{name}.safetensors" for name in ("autoencoder", "image")}
    leave(config_of("autoencoder"), files["autoencoder"])
    on = {"autoencoder": files["autoencoder"]}
    leave(config_of("image", model=on), files["image"])
    model = on | {"backbone": files["image"]}
    config = config_of("video", model=model, data={"kind": "random", "num_frames": 5})
    with config.unlocked():
        config.model.network.more_conditions = ({"kind": "context_frames", "channels": 4},)
        config.objective.given = ((1.0, (0, 4)),)
        config.sampling.given = (0, 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SOURCES, "random", Row(random_clips))
        leave(config, root / "run" / WEIGHTS)
    stored = config.to_dict()
    del stored["sampling"]["method"]  # as a run of an earlier version has it
    write_json(root / "run" / "config.json", stored)
    return root / "run"


def vldm(*argv):
    return entry.main([*map(str, argv)])


def test_a_baseline_is_evaluated_by_the_same_command_and_the_table_names_it(run, tmp_path, capsys):
    one, two = tmp_path / "one", tmp_path / "two"
    assert vldm("evaluate", "--workdir", run, *PAIRS, AVERAGE, "--out", one) == 0
    metrics = json.loads((one / "metrics.json").read_text())
    assert metrics["recipe"]["compared_frames"] == [1, 2, 3]
    assert metrics["recipe"]["conditioning_frames"] == 2
    assert metrics["figures"]["psnr"]["floor"] is None  # no other clip can stand in
    assert metrics["figures"]["flicker"]["floor"] > 0
    assert metrics["recipe"]["samples"]["sampling"]["method"] == "average"
    capsys.readouterr()
    other = ["--config.sampling.steps=7", "--beside", one / "metrics.json"]
    assert vldm("evaluate", "--workdir", run, *PAIRS, AVERAGE, *other, "--out", two) == 0
    said = capsys.readouterr().out
    assert "one was sampled otherwise: sampling.steps: 7 and 2\n" in said
    assert "made otherwise" not in said
    assert json.loads((two / "metrics.json").read_text())["recipe_id"] == metrics["recipe_id"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["evaluate", *PAIRS, "--config.sampling.given=()"], "or samples both ends of clips"),
        (["evaluate", AVERAGE, "--config.sampling.given=(0,)"], r"set that to (0, 4), or the"),
        (["evaluate", "--config.sampling.method=blend"], "choose one of denoise, average, rife"),
        (["sample"], "there is no clip to take these frames of: vldm evaluate gives real clips'"),
        (["sample", AVERAGE], "there is no clip to take these frames of"),
    ],
)
def test_what_does_not_fit_is_one_line_and_nothing_is_written(run, tmp_path, capsys, argv, message):
    command, *rest = argv
    assert vldm(command, "--workdir", run, *rest, "--out", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert message in said and "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_runs_that_are_given_other_frames_are_not_compared_in_pairs(run, tmp_path, capsys):
    other = tmp_path / "other"
    other.mkdir()
    stored = json.loads((run / "config.json").read_text())
    stored["sampling"]["given"] = [0]
    write_json(other / "config.json", stored)
    argv = ["compare", run, other, "--figures", "psnr", "--clips", "3", "--out", tmp_path / "out"]
    assert vldm(*argv) == 2
    said = capsys.readouterr().err
    assert "psnr is of frames (1, 2, 3) of A: run and of () of B: other: compare runs" in said
    assert not (tmp_path / "out").exists()
