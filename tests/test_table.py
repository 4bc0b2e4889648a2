"""`launch/table.py`: which commands it runs, and that it goes on where it was stopped."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vldm_jax.cli.flags import load_config
from vldm_jax.core.code import identity
from vldm_jax.core.errors import InputError
from vldm_jax.evals.checks import check_figures
from vldm_jax.stages.plan import make_plan

ROOT = Path(__file__).parent.parent


def script():
    spec = importlib.util.spec_from_file_location("table", ROOT / "launch" / "table.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["table"] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


SMALL = """
from ml_collections import ConfigDict

def get_table():
    table = ConfigDict()
    table.says = "Two arms"
    table.worlds = ConfigDict(sort_keys=False)
    table.common = (
        "train.batch_size=1", "train.sample_every=1000", "sampling.num_videos=1",
        "sampling.steps=2", "checkpoint.every=1",
    )
    table.trainings = ConfigDict(sort_keys=False)
    config = "configs/driving/video.py:tiny"
    table.trainings.ours = (config, "train.total_steps=2")
    table.trainings.frozen = (config, "train.total_steps=1", "optim.lr=1e-9")
    table.arms = ConfigDict({"ours": 1.0, "frozen": 2.0}, sort_keys=False)
    table.first = "ours"
    table.evaluate = ("--clips=2", "--figures=flicker,motion")
    table.figure = "flicker"
    return table
"""
STEPS = ["seed0_ours", "seed0_ours_figures", "seed0_frozen", "seed0_frozen_figures"]


@pytest.fixture
def small(tmp_path, monkeypatch):
    """The script with a table of two arms."""
    module = script()
    (tmp_path / "small.py").write_text(SMALL)
    monkeypatch.setattr(module, "TABLES", tmp_path)
    return module


@pytest.fixture
def start(small, tmp_path, monkeypatch):
    """Start the small table: with what runs a step, and nothing that writes figures."""
    out = tmp_path / "out"

    def begin(run):
        monkeypatch.setattr(small, "run", run)
        monkeypatch.setattr(small, "write", lambda *args: (out / "table.md").write_text(""))
        monkeypatch.setattr(sys, "argv", ["table.py", "small", "--seeds=1", f"--out={out}"])
        small.main()

    return begin


def killed(step, lock):
    raise KeyboardInterrupt


@pytest.mark.parametrize("name", script().names())
def test_every_training_of_every_table_is_planned(name, monkeypatch):
    """Folders of trainings are not there yet, and a plan does not ask for them."""
    module = script()
    monkeypatch.chdir(ROOT)
    table = module.load(name)
    steps = list(module.steps_of(table, Path("out"), 2))
    assert len({step.name for step in steps}) == len(steps)
    made = set()
    for step in steps:
        flags = dict(word.removeprefix("--").split("=", 1) for word in step.argv if "=" in word)
        if step.argv[0] == "train":
            words = [word for word in step.argv if word.startswith("--config.")]
            config = load_config(flags["config"], words)
            make_plan(config)
            for key in ("config.data.path", "config.model.backbone"):
                path = flags.get(key, "asset:")
                assert path in made or path.startswith("asset:") or path == "fresh"
        if step.argv[0] == "evaluate":
            assert flags["workdir"] in made
            check_figures(tuple(flags["figures"].split(",")))
        made |= {flags[name] for name in ("out", "workdir") if name in flags}


def test_what_is_done_is_not_done_again(start):
    first, second = [], []

    def run(step, lock):
        if len(first) == 3:
            raise KeyboardInterrupt
        first.append(step.name)

    with pytest.raises(KeyboardInterrupt):
        start(run)
    start(lambda step, lock: second.append(step.name))
    assert first + second == STEPS


def test_a_table_that_was_changed_is_not_mixed_with_what_is_there(start, tmp_path):
    start(lambda step, lock: None)
    (tmp_path / "small.py").write_text(SMALL.replace("lr=1e-9", "lr=1e-8"))
    with pytest.raises(InputError, match="seed0_frozen in .*out was made by another command"):
        start(lambda step, lock: None)


def test_a_table_that_is_changed_while_a_training_is_half_done_is_refused(start, tmp_path):
    """A run goes on to another number of steps without a word: only the note tells."""
    with pytest.raises(KeyboardInterrupt):
        start(killed)
    (tmp_path / "small.py").write_text(SMALL.replace("total_steps=2", "total_steps=3"))
    with pytest.raises(InputError, match="seed0_ours in .*out was made by another command"):
        start(killed)


def test_a_kill_between_figures_and_their_note_does_not_block_the_table(start):
    """`vldm evaluate` never writes figures over, so it must not be asked to make them again."""
    ran = []

    def run(step, lock):
        ran.append(step.name)
        if step.result is not None:
            assert not step.result.exists()
            step.result.parent.mkdir(parents=True)
            step.result.write_text("{}")
        if ran == STEPS[:2]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start(run)
    start(run)
    assert ran == STEPS


def test_a_table_that_is_not_there_is_named(small):
    with pytest.raises(InputError, match="no table 'smal': choose one of small"):
        small.load("smal")


def notes_of(out):
    return {path.stem: json.loads(path.read_text()) for path in (out / "done").iterdir()}


@pytest.fixture
def made(small, tmp_path, monkeypatch):
    """Make the small table, whose commands do nothing; return its notes and what was written."""
    out, written = tmp_path / "out", []
    monkeypatch.setattr(small, "run", lambda step, lock: None)
    monkeypatch.setattr(sys, "argv", ["table.py", "small", "--seeds=1", f"--out={out}"])

    def write(table, folder, seeds, notes):
        written.append(notes)
        (out / "table.md").write_text("")

    def make():
        monkeypatch.setattr(small, "write", write)
        small.main()
        return notes_of(out), written[-1]

    return make


def test_a_step_notes_its_code_and_what_its_config_says(made):
    notes, said = made()
    assert said == []
    for name, note in notes.items():
        assert note["code"] == identity()
        assert (note["config"] is None) == name.endswith("_figures")
    assert notes["seed0_ours"]["config"] != notes["seed0_frozen"]["config"]


def test_steps_of_several_codes_are_told_and_kept(made, small, tmp_path, monkeypatch, capsys):
    """One was made before notes told their code; one by another code; two are made now."""
    notes, _ = made()
    done = tmp_path / "out" / "done"
    old = {"command": notes["seed0_ours"]["command"]}
    (done / "seed0_ours.json").write_text(json.dumps(old))
    other = notes["seed0_frozen"] | {"code": {"version": "0.0.1", "sha256": "f" * 64}}
    (done / "seed0_frozen.json").write_text(json.dumps(other))
    (done / "seed0_frozen_figures.json").unlink()
    (tmp_path / "out" / "begun" / "seed0_frozen_figures.json").unlink()
    notes, (line,) = made()
    assert line.startswith("not all steps were made by one code: ")
    assert "seed0_ours by a code that its note does not tell; " in line
    assert "seed0_frozen by 0.0.1 (ffffffff)" in line
    assert f"seed0_frozen_figures by {identity()['version']}" in line
    assert f"note: {line}" in capsys.readouterr().out  # before it goes on
    assert notes["seed0_ours"] == old and notes["seed0_frozen"] == other


def test_a_step_that_went_on_under_another_code_is_told(made, tmp_path):
    notes, _ = made()
    first = notes["seed0_ours"] | {"code": {"version": "0.0.1", "sha256": "f" * 64}}
    (tmp_path / "out" / "begun" / "seed0_ours.json").write_text(json.dumps(first))
    (tmp_path / "out" / "done" / "seed0_ours.json").unlink()
    notes, (line,) = made()
    assert line.startswith("seed0_ours was begun by 0.0.1 (ffffffff) and went on by ")
    assert notes["seed0_ours"]["begun"] == first["code"]
    assert notes["seed0_ours"]["code"] == identity()
    (tmp_path / "out" / "done" / "seed0_ours.json").unlink()  # and stopped again
    notes, lines = made()
    assert notes["seed0_ours"]["begun"] == first["code"] and lines == [line]


def test_a_config_that_says_something_else_now_is_told(made, tmp_path):
    notes, _ = made()
    before = notes["seed0_frozen"] | {"config": "0" * 64}
    (tmp_path / "out" / "done" / "seed0_frozen.json").write_text(json.dumps(before))
    assert made()[1] == ["the config is another one now than that of seed0_frozen"]


def test_the_code_is_what_the_sources_say(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "a.py").write_text("a = 1")
    one = identity(package)
    assert identity(package) == one and "revision" not in one
    (package / "a.py").write_text("a = 2")
    assert identity(package)["sha256"] != one["sha256"]
    (package / "a.py").write_text("a = 1")
    (package / "b.py").write_text("")
    assert identity(package)["sha256"] != one["sha256"]


def test_a_second_start_in_the_same_folder_is_refused(small, tmp_path):
    with small.owned(tmp_path / "out"):
        with pytest.raises(InputError, match="out is in use by another launch/table.py"):
            with small.owned(tmp_path / "out"):
                pass
    with small.owned(tmp_path / "out"):
        pass


CHILD = """
import os, pathlib, signal, sys, time

def end(*_):
    time.sleep(1)
    pathlib.Path(sys.argv[1]).touch()
    os._exit(0)

signal.signal(signal.SIGTERM, end)
print("here", flush=True)
time.sleep(60)
"""
PARENT = f"""
import pathlib, sys, table
real = table.subprocess.Popen
def popen(command, **more):
    return real([sys.executable, "-c", {CHILD!r}, sys.argv[1]], **more)
table.subprocess.Popen = popen
with table.owned(pathlib.Path(sys.argv[2])) as lock:
    table.run(table.Step(name="step", argv=()), lock)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own signal is Linux's")
def test_a_command_ends_with_a_table_that_is_killed_and_holds_its_folder_until_then(
    small, tmp_path
):
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'launch'}"}
    command = [sys.executable, "-c", PARENT, str(tmp_path / "ended"), str(tmp_path / "out")]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "here\n"
        parent.kill()
        parent.wait()
        with pytest.raises(InputError, match="or by a command of one that was killed"):
            with small.owned(tmp_path / "out"):
                pass
        deadline = time.monotonic() + 30
        while not (tmp_path / "ended").exists():  # it was told, and saves
            assert time.monotonic() < deadline
            time.sleep(0.05)
        parent.stdout.read()  # until the command is gone
    with small.owned(tmp_path / "out"):
        pass


@pytest.mark.slow
def test_a_table_that_was_killed_goes_on_and_is_written(tmp_path):
    """SIGTERM in the first training; the second start resumes it and makes the rest."""
    out = tmp_path / "out"
    code = (
        "import sys; sys.path.insert(0, 'launch'); import pathlib, table; "
        f"table.TABLES = pathlib.Path({str(tmp_path)!r}); table.main()"
    )
    (tmp_path / "small.py").write_text(SMALL)
    command = [sys.executable, "-c", code, "small", "--seeds=1", f"--out={out}"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=ROOT, env=env)
    while not (out / "seed0" / "ours" / "checkpoints" / "1").exists():
        assert process.poll() is None
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 143
    assert not (out / "done").exists()
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "| ours | 1 |" in done.stdout and "- ours before frozen: " in done.stdout
    means = json.loads((out / "table.json").read_text())["means"]
    assert means.keys() == {"ours", "frozen"}
