"""A run and its interruptions: what comes after them is what would have come without."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_training
from full_disk import files_of_at_most
from tiny_training import CONFIG, Loader, make_objective, make_run, train

from vldm_jax.checkpoint.manager import Checkpoints
from vldm_jax.checkpoint.steps import complete_steps
from vldm_jax.core.errors import InputError
from vldm_jax.core.signals import Stopped
from vldm_jax.evals.best import Best
from vldm_jax.evals.record import scalars
from vldm_jax.parallel.mesh import replicate
from vldm_jax.training.state import create_state
from vldm_jax.training.step import Update, compile_step
from vldm_jax.training.stopping import NonFiniteError, StopRequest


@functools.cache
def uninterrupted(folder):
    state, loader = train(folder / "whole", 12)
    return jax.device_get(state), loader.position


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """State and loader position after 12 steps at one go."""
    return uninterrupted(tmp_path_factory.getbasetemp())


def assert_equal(a, b):
    """Bit by bit: parameters, moments, average, counters."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


def restore(workdir, step=None):
    """Return (state, loader) as a new process would find them."""
    _, state, _, _, _, tx = tiny_training.default_run()
    checkpoints, loader = Checkpoints(workdir / "checkpoints", config=CONFIG), Loader()
    if step is not None:
        assert checkpoints.latest_step() == step
    state, _ = checkpoints.resume(create_state(state.params, tx), loader)
    checkpoints.close()
    return jax.device_get(state), loader


def logged(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_two_halves_are_the_whole(tmp_path, whole):
    train(tmp_path, 6)
    state, loader = train(tmp_path, 12)
    assert_equal(state, whole[0])
    assert loader.position == whole[1] == 12
    assert [record["step"] for record in logged(tmp_path)] == [2, 4, 6, 8, 10, 12]
    assert complete_steps(tmp_path / "checkpoints") == [9, 12]  # keep=2


def test_records_after_resuming_are_those_of_the_whole_run(tmp_path, whole, tmp_path_factory):
    """Step 3 lies within an interval of the records, whose begin is carried over."""
    train(tmp_path, 3)
    train(tmp_path, 12)
    here = {record["step"]: record for record in logged(tmp_path)}
    there = {record["step"]: record for record in logged(tmp_path_factory.getbasetemp() / "whole")}
    assert here.keys() == there.keys() | {3}
    for step, record in there.items():
        times = {"step_seconds", "loader_wait_seconds"}
        assert {name: here[step][name] for name in record.keys() - times} == {
            name: record[name] for name in record.keys() - times
        }


def test_moments_and_average_matter_to_the_comparison(tmp_path, whole):
    """A resume of the weights alone ends elsewhere, so the test above can fail."""
    state, _ = train(tmp_path, 6)
    step, _, frozen, mesh, root_key, tx = tiny_training.default_run()
    fresh = create_state(jax.device_get(state.params), tx).replace(step=jnp.int32(6))
    fresh = replicate(fresh, mesh)
    compiled = compile_step(step, fresh)
    for n in range(6, 12):
        batch = tiny_training.shard_batch(tiny_training.make_batch(n), mesh, make_objective().needs)
        fresh, _ = compiled(fresh, frozen, batch, root_key)
    kernel = fresh.params["network"]["temporal_conv"]["kernel"]
    assert np.max(np.abs(kernel - whole[0].params["network"]["temporal_conv"]["kernel"])) > 1e-4


def test_a_finished_run_does_nothing_more(tmp_path, whole):
    train(tmp_path, 12)
    state, loader = train(tmp_path, 12)
    assert_equal(state, whole[0])
    assert loader.position == 12


def test_a_killed_process_resumes(tmp_path, whole):
    program = Path(tiny_training.__file__)
    process = subprocess.Popen(
        [sys.executable, str(program), str(tmp_path), "1000", "0.2"],
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 600
        while not complete_steps(tmp_path / "checkpoints"):
            assert process.poll() is None, "the training process ended by itself"
            assert time.monotonic() < deadline, "no checkpoint in time"
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    reached = complete_steps(tmp_path / "checkpoints")[-1]
    assert reached < 12
    state, loader = train(tmp_path, 12)
    assert_equal(state, whole[0])
    assert loader.position == 12


def test_half_written_checkpoints_are_passed_over(tmp_path, whole):
    train(tmp_path, 6)
    folder = tmp_path / "checkpoints"
    for name in ("9", "12.orbax-checkpoint-tmp"):
        (folder / name / "state").mkdir(parents=True)
        (folder / name / "state" / "manifest.ocdbt").write_bytes(b"half")
    state, _ = train(tmp_path, 12)
    assert_equal(state, whole[0])
    assert complete_steps(folder) == [9, 12]
    assert [path.name[:9] for path in folder.glob("damaged*")] == ["damaged_9"]


def damage(checkpoint):
    """Flip a bit of the arrays."""
    path = max((checkpoint / "state").rglob("d/*"), key=lambda path: path.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_after_damage_the_run_goes_on_from_the_last_whole_checkpoint(tmp_path, whole, capsys):
    train(tmp_path, 9)
    damage(tmp_path / "checkpoints" / "9")
    capsys.readouterr()
    state, _ = train(tmp_path, 12)
    err = capsys.readouterr().err
    assert "checkpoints/9 is damaged (state/" in err and "resumed from step 6" in err
    assert_equal(state, whole[0])
    assert [record["step"] for record in logged(tmp_path)] == [2, 4, 6, 8, 10, 12]


def test_if_all_checkpoints_are_damaged_nothing_starts_again_silently(tmp_path):
    train(tmp_path, 3)
    damage(tmp_path / "checkpoints" / "3")
    with pytest.raises(InputError, match=r"holds no whole checkpoint \(3: state/.*move the folder"):
        train(tmp_path, 12)
    assert complete_steps(tmp_path / "checkpoints") == [3]


def test_a_full_disk_is_one_line_and_later_the_run_goes_on(tmp_path, whole):
    train(tmp_path, 3)
    message = r"checkpoints/6 cannot be written \(File too large\): once it can, the same command"
    with files_of_at_most(2500), pytest.raises(OSError, match=message):
        train(tmp_path, 12)
    assert complete_steps(tmp_path / "checkpoints") == [3]
    assert_equal(train(tmp_path, 12)[0], whole[0])
    assert [record["step"] for record in logged(tmp_path)] == [2, 3, 4, 6, 8, 10, 12]


def test_another_config_is_refused_and_a_longer_run_is_not(tmp_path):
    train(tmp_path, 3)
    longer = CONFIG | {"train": CONFIG["train"] | {"total_steps": 99}}
    assert int(train(tmp_path, 4, config=longer)[0].step) == 4
    other = {"seed": 1, "optim": {"lr": 0.5}, "train": CONFIG["train"]}
    message = r"made by another config: optim.lr is 0.01 there and 0.5 here; seed is 0 there and 1"
    with pytest.raises(InputError, match=message):
        train(tmp_path, 12, config=other)


class Interrupting(Loader):
    """Sends a signal to this process while it prepares the fifth batch."""

    def __next__(self):
        if self.position == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().__next__()


def test_sigterm_saves_and_leaves(tmp_path, whole, capsys):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped) as stopped:
        train(tmp_path, 12, loader=Interrupting())
    assert stopped.value.code == 143
    assert signal.getsignal(signal.SIGTERM) == before
    err = capsys.readouterr().err
    assert "SIGTERM: stopping after this step; once more to stop now" in err
    assert "stopped by SIGTERM after step 5 of 12" in err
    _, loader = restore(tmp_path, step=5)
    assert loader.position == 5
    assert_equal(train(tmp_path, 12)[0], whole[0])


def test_among_several_processes_signals_are_left_alone(monkeypatch):
    """SIGTERM is jax's there, SIGINT Python's; `test_two_processes.py` sends one for real."""
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with StopRequest():
        inside = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    assert inside == before


def test_a_time_limit_saves_and_leaves(tmp_path, whole):
    state, _ = train(tmp_path, 12, loader=Loader(seconds=0.15), stop_after_minutes=0.3 / 60)
    assert 1 <= int(state.step) < 12
    assert complete_steps(tmp_path / "checkpoints")[-1] == int(state.step)
    assert_equal(train(tmp_path, 12)[0], whole[0])


def test_time_that_is_up_after_compiling_starts_no_step(tmp_path, monkeypatch, capsys):
    compile_update = Update.compile

    def slowly(self, state, batch):
        time.sleep(0.4)
        return compile_update(self, state, batch)

    monkeypatch.setattr(Update, "compile", slowly)
    state, _ = train(tmp_path, 12, stop_after_minutes=0.3 / 60)
    assert int(state.step) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("compiling the training step")
    assert lines[-1] == "stopped by the time limit after step 0 of 12"


@functools.cache
def failing_run():
    """A run whose loss is not a number once 4 updates are done."""
    objective = make_objective()

    class Failing:
        needs = objective.needs

        def loss(self, params, batch, key, step):
            value, metrics = objective.loss(params, batch, key, step)
            return jnp.where(step == 4, jnp.nan, value), metrics

    return make_run(objective=Failing())


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    message = r"loss is nan at step 5; nothing of it was saved and the newest checkpoint is .* 3:"
    with pytest.raises(NonFiniteError, match=message):
        train(tmp_path, 12, run=failing_run(), save_every=3)
    saved, _ = restore(tmp_path, step=3)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(saved))
    assert issubclass(NonFiniteError, InputError)


def test_a_bad_state_is_not_saved_even_when_a_save_is_due(tmp_path):
    with pytest.raises(NonFiniteError, match="at step 5; .* no checkpoint was written"):
        train(tmp_path, 12, run=failing_run(), save_every=5)
    assert complete_steps(tmp_path / "checkpoints") == []


class Failing(Loader):
    """Raises what it was given in place of a batch."""

    def __init__(self, error, position=2):
        super().__init__()
        self.error, self.last = error, position

    def __next__(self):
        if self.position == self.last:
            raise self.error
        return super().__next__()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (StopIteration(), "training data ended after step 2: the loader must repeat"),
        (InputError("a.mp4 is gone"), "^a.mp4 is gone$"),
        (OSError(5, "Input/output error", "a.mp4"), "after step 2 .OSError: .*error: 'a.mp4'"),
        (RuntimeError("a worker\nhas died"), "after step 2 .RuntimeError: a worker has died"),
    ],
)
def test_when_the_data_fail_the_state_is_saved_first(tmp_path, whole, error, message):
    with pytest.raises(InputError, match=message) as raised:
        train(tmp_path, 12, loader=Failing(error))
    assert "\n" not in str(raised.value)
    _, loader = restore(tmp_path, step=2)
    assert loader.position == 2
    assert_equal(train(tmp_path, 12)[0], whole[0])


def test_when_the_data_fail_a_bad_state_is_not_saved(tmp_path):
    loader = Failing(OSError("gone"), position=5)
    with pytest.raises(NonFiniteError, match="at step 5"):
        train(tmp_path, 12, run=failing_run(), save_every=100, loader=loader)
    assert complete_steps(tmp_path / "checkpoints") == []


def test_saved_states_are_those_of_their_step(tmp_path):
    """Saving runs in the background while the step overwrites the very buffers."""
    seen = {}

    def hook(state, step, log):
        seen[step] = jax.tree.map(lambda leaf: np.array(leaf, copy=True), state)

    train(tmp_path, 6, save_every=1, keep=10, sample_hook=hook, sample_every=1)
    assert sorted(seen) == complete_steps(tmp_path / "checkpoints") == [1, 2, 3, 4, 5, 6]
    for step in (6, 5, 4, 3, 2, 1):
        saved, loader = restore(tmp_path, step)
        assert_equal(saved, seen[step])
        assert loader.position == step
        (tmp_path / "checkpoints" / str(step)).rename(tmp_path / str(step))


def test_hooks_and_records(tmp_path, capsys):
    calls = []
    train(tmp_path, 5, sample_every=2, sample_hook=lambda state, step, log: calls.append(step))
    assert calls == [2, 4, 5]
    records = logged(tmp_path)
    assert [record["step"] for record in records] == [2, 4, 5]
    assert [record["seen_videos"] for record in records] == [16, 32, 40]
    for record in records:
        assert record["step_seconds"] > 0
        assert record["loader_wait_seconds"] >= 0
        assert record["loss"] > 0
    lines = capsys.readouterr().err
    assert "compiled the training step" in lines
    assert "step 4/5  loss" in lines


VALUES = {2: 5.0, 4: 2.0, 6: 3.0, 8: 4.0, 10: 3.0, 12: 2.5}


def evaluating(workdir, seen):
    """A hook that finds `VALUES` and keeps the best, made as a process that starts makes it."""
    best = Best(workdir / "best", "fvd")

    def hook(state, step, log):
        figure = {"value": VALUES[step], "floor": 1.0, "made_by": {}}
        made_with = {"sampling": {}, "diffusion": {}, "seed": 0}
        metrics = {"recipe_id": "a", "recipe": {"samples": made_with}, "figures": {"fvd": figure}}
        best.offer(step, metrics, lambda folder: (folder / "step").write_text(str(int(state.step))))
        log.scalars(step, scalars(metrics))
        seen.append(step)

    return hook


def test_a_resumed_run_keeps_its_best_and_every_evaluation_is_logged_once(tmp_path, whole):
    seen = []
    for died in (5, 8):  # as a kill does it; saved is every third step, so some are done again
        with pytest.raises(KeyboardInterrupt):
            hook = evaluating(tmp_path, seen)
            loader = Failing(KeyboardInterrupt(), died)
            train(tmp_path, 12, loader=loader, evaluate_hook=hook, evaluate_every=2)
    hook = evaluating(tmp_path, seen)
    assert_equal(train(tmp_path, 12, evaluate_hook=hook, evaluate_every=2)[0], whole[0])
    assert seen == [2, 4, 4, 6, 8, 8, 10, 12]
    assert (tmp_path / "best" / "step").read_text() == "4"
    found = {r["step"]: r["eval/fvd"] for r in logged(tmp_path) if "eval/fvd" in r}
    assert found == VALUES and len(logged(tmp_path)) == 12


def test_an_evaluation_that_was_killed_is_made_up_for(tmp_path, whole):
    """The state is saved before it, so its step is not done again; of the last step there is none.

    What was evaluated already is not evaluated again, nor after the end.
    """
    seen = []
    hook = evaluating(tmp_path, seen)
    for dies in (6, 12):

        def killed(state, step, log, dies=dies):
            if step == dies:
                raise KeyboardInterrupt
            hook(state, step, log)

        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, 12, evaluate_hook=killed, evaluate_every=2)
    for _ in range(2):
        assert_equal(train(tmp_path, 12, evaluate_hook=hook, evaluate_every=2)[0], whole[0])
    assert seen == [2, 4, 6, 8, 10, 12]
    assert len([r for r in logged(tmp_path) if "eval/fvd" in r]) == 6


def test_an_evaluation_is_a_pause_of_the_clock(tmp_path):
    def slowly(state, step, log):
        time.sleep(1.0)

    train(tmp_path, 4, evaluate_hook=slowly, evaluate_every=1)
    assert all(record["step_seconds"] < 0.5 for record in logged(tmp_path))
