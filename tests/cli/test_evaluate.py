"""`vldm evaluate` as a user calls it: two folders, or a run, to figures that carry their recipe."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from moving_scenes import scene
from PIL import Image

from vldm_jax.cli import main as entry
from vldm_jax.core import progress
from vldm_jax.data.write import write_video

FIGURES = "flicker,motion,change"
FAST = ["--figures", FIGURES, "--frames", "6"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VLDM_FEATURE_CACHE", str(tmp_path / "numbers"))


@pytest.fixture
def folders(tmp_path):
    for number in range(4):
        write_video(tmp_path / "real" / f"{number}.mp4", scene(20, number), 8)
        write_video(tmp_path / "made" / f"{number}.mp4", scene(8, number + 0.5), 8)
    return ["--real", str(tmp_path / "real"), "--samples", str(tmp_path / "made")]


def evaluate(*argv):
    return entry.main(["evaluate", *map(str, argv)])


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text())


def test_two_folders(folders, tmp_path, capsys):
    assert evaluate(*folders, *FAST, "--out", tmp_path / "out") == 0
    metrics = metrics_of(tmp_path / "out")
    assert set(metrics["figures"]) == set(FIGURES.split(","))
    recipe = metrics["recipe"]
    assert (recipe["clips"], recipe["frames"], recipe["fps"]) == (4, 6, 8.0)
    assert recipe["size"] == [32, 48] and recipe["real_windows"] == "all"
    for found in metrics["figures"].values():
        assert found["interval"][0] <= found["value"] <= found["interval"][1]
        assert found["clips"] == 4 and found["floor"] > 0
    out = capsys.readouterr().out
    assert "| samples | flicker → floor |" in out and metrics["recipe_id"] in out
    assert "; not used: 4 real clips\n" in out
    for name in ("figures.png", "best_and_worst.png"):
        with Image.open(tmp_path / "out" / name) as image:
            assert min(image.size) > 50
    assert (tmp_path / "out" / "table.md").read_text().count("\n") == 3


def test_equal_recipes_give_equal_figures_and_the_second_computes_nothing(folders, tmp_path):
    for name in ("one", "two"):
        assert evaluate(*folders, *FAST, "--out", tmp_path / name) == 0
    one, two = (metrics_of(tmp_path / name) for name in ("one", "two"))
    assert one["figures"] == two["figures"] and one["recipe_id"] == two["recipe_id"]
    assert (one["recalled"], two["recalled"]) == (0, 12)


def test_another_recipe_is_shown_beside_it_with_what_differs(folders, tmp_path, capsys):
    assert evaluate(*folders, *FAST, "--out", tmp_path / "one") == 0
    beside = ["--beside", tmp_path / "one" / "metrics.json"]
    assert evaluate(*folders, *FAST, "--clips", 3, "--out", tmp_path / "two", *beside) == 0
    said = capsys.readouterr().out
    assert "one was made otherwise: clips: 3 and 4; real_sha256" in said
    assert not re.search("[0-9a-f]{13}", said)
    assert re.search("[0-9a-f]{64}", (tmp_path / "two" / "metrics.json").read_text())


def test_a_row_is_named_after_the_folder_or_as_one_says(folders, tmp_path, capsys):
    assert evaluate(*folders, *FAST, "--out", tmp_path / "one") == 0
    assert "| one |" in (tmp_path / "one" / "table.md").read_text()
    assert evaluate(*folders, *FAST, "--out", tmp_path / "two", "--name", "mine") == 0
    assert "| mine |" in (tmp_path / "two" / "table.md").read_text()
    beside = ["--beside", tmp_path / "two" / "metrics.json"]
    capsys.readouterr()
    assert evaluate(*folders, *FAST, "--out", tmp_path / "three", *beside) == 0
    said = capsys.readouterr().out
    assert "| three |" in said and "| mine |" in said


def test_an_evaluation_in_a_log_says_how_far_it_is(folders, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.001)
    monkeypatch.setattr(progress, "SOON_SECONDS", 0.0)
    assert evaluate(*folders, *FAST, "--out", tmp_path / "out") == 0
    err = capsys.readouterr().err
    for line in (r"scanning: 4 of 4 videos in \d", r"judging: 12 of 12 clips in \d"):
        assert re.search(line, err), err
    assert re.search(r"judging: \d+ of 12 clips, .* s a clip, .* left", err), err
    assert "figures and their intervals: 3 of 3 figures in" in err


def test_entries_of_labels_without_a_video_are_said(folders, tmp_path, capsys):
    content = {"names": ["n"], "clips": {"0.mp4": [1], "gone.mp4": [2]}}
    (tmp_path / "made" / "labels.json").write_text(json.dumps(content))
    assert evaluate(*folders, *FAST, "--out", tmp_path / "out") == 0
    line = "samples: labels.json has 1 entry without a video: gone.mp4"
    assert line in capsys.readouterr().out and line in metrics_of(tmp_path / "out")["notes"]


def test_a_preset_that_flags_change_is_not_told_as_that_protocol(folders, tmp_path, capsys):
    more = ["--preset", "paper-fvd", "--real-windows", "all", "--fps", 8, "--clips", 4]
    assert evaluate(*folders, *FAST, *more, "--out", tmp_path / "out") == 0
    line = "not as paper-fvd says: clips 4 for 2048, frames 6 for 16, fps 8.0 for 30.0, "
    line += "real windows all for one"
    assert line in capsys.readouterr().out and line in metrics_of(tmp_path / "out")["notes"]


def test_what_gives_no_clip_is_told_and_kept(folders, tmp_path, capsys):
    write_video(tmp_path / "made" / "short.mp4", scene(3, 9), 8)
    whole = (tmp_path / "made" / "0.mp4").read_bytes()
    (tmp_path / "made" / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    assert evaluate(*folders, *FAST, "--out", tmp_path / "out") == 0
    out = capsys.readouterr().out
    assert "samples: 1 video left out: too short for 6 frames at 8 fps (short.mp4)\n" in out
    assert "samples: 1 video left out: truncated (cut.mp4)\n" in out
    left_out = metrics_of(tmp_path / "out")["left_out"]
    assert left_out["samples"] == {
        "too short for 6 frames at 8 fps": ["short.mp4"],
        "truncated": ["cut.mp4"],
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--figures", "fvd,fwd"], "unknown figure 'fwd'"),
        (["--clips", "9"], "--clips 9 needs as many samples and twice as many real clips"),
        (["--clips", "1"], "--clips 1 is too few for flicker, motion, change, which take 2: ask"),
        (["--preset", "paper-fvd", "--fps", "8"], "--preset paper-fvd: clips 2048 needs as many"),
        (
            ["--preset", "vista", "--figures", "change", "--frames", "6"],
            "and 32x48 in 4 videos (4 slower than 10 fps): ask for fewer frames, a lower fps or a "
            "smaller size, or add videos (--preset vista asks for clips 5369, fps 10.0, real "
            "windows all, where no flag says otherwise)",
        ),
        (["--clips", "0"], "must be a whole number of at least 1"),
        (["--frames", "50"], "too short for 50 frames"),
        (["--fps", "100"], "slower than 100 fps"),
        (["--fps", "-1"], "--fps must be positive"),
        (["--size", "64x96"], "smaller than 64x96"),
        (["--samples", "nowhere"], "nowhere: no such folder of videos"),
        (["--network", "i3d"], "write NAME=PATH"),
        (["--network", "i3d=."], "--network i3d=. is a folder; i3d takes a file of weights"),
        (["--network", "vgg=a.pth"], "there is no such network"),
        (["--beside", "nowhere.json"], "nowhere.json: no such file"),
        (["--seed", "-1"], "must not be negative"),
        (["--workdir", "run"], "not allowed with argument"),
        (["--real", "nowhere"], "nowhere: no such folder of videos"),
        (["--preset", "paper"], "invalid choice: 'paper'"),
    ],
)
def test_bad_input_is_one_line(folders, tmp_path, capsys, change, message):
    assert evaluate(*folders, *FAST, "--out", tmp_path / "out", *change) == 2
    err = capsys.readouterr().err
    assert err.startswith("vldm: error: ") and message in err and err.count("\n") == 1
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_rates_that_differ_are_to_be_decided(folders, tmp_path, capsys):
    write_video(tmp_path / "made" / "other.mp4", scene(20, 9), 16)
    assert evaluate(*folders, *FAST, "--out", tmp_path / "out") == 2
    assert "videos of 8, 16 fps: say at which rate" in capsys.readouterr().err
    assert evaluate(*folders, *FAST, "--fps", 8, "--out", tmp_path / "out") == 0
    assert "samples: 1 of 5 videos have 8, 16 fps: frames taken at 8 fps" in capsys.readouterr().out


def test_figures_are_not_written_over(folders, tmp_path, capsys):
    assert evaluate(*folders, *FAST, "--out", tmp_path / "out") == 0
    assert evaluate(*folders, *FAST, "--out", tmp_path / "out") == 2
    assert "exists and holds" in capsys.readouterr().err


@pytest.mark.parametrize("content", [{}, {"recipe": 1, "recipe_id": "a", "figures": {"fvd": 3}}])
def test_what_is_no_evaluation_is_not_shown_beside_one(folders, tmp_path, capsys, content):
    (tmp_path / "other.json").write_text(json.dumps(content))
    beside = ["--beside", tmp_path / "other.json", "--out", tmp_path / "out"]
    assert evaluate(*folders, *FAST, *beside) == 2
    assert "other.json is no metrics.json of vldm evaluate" in capsys.readouterr().err


def test_a_run_that_is_not_there_is_said(tmp_path, capsys):
    argv = ["--workdir", tmp_path / "none", "--figures", "motion", "--out", tmp_path / "out"]
    assert evaluate(*argv) == 2
    assert "--workdir: no such folder" in capsys.readouterr().err


def test_frames_are_no_clips_for_fvd_and_this_is_said_before_sampling(tmp_path, capsys):
    config = [
        "--config",
        "configs/driving/image.py:tiny",
        "--weights",
        "asset:driving/image.safetensors",
    ]
    assert evaluate(*config, "--figures", "motion", "--out", tmp_path / "out") == 2
    assert "motion takes clips of at least 2 frames, these have 1" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_run_is_sampled_for_the_labels_of_the_real_clips_and_goes_on_where_it_was_killed(
    tmp_path,
):
    config = ["--config", "configs/driving/video.py:tiny", "--clips", 3, "--figures", FIGURES]
    few = ["--config.sampling.steps=2", "--config.sampling.batch_size=2"]
    argv = [*config, *few, "--weights", "asset:driving/temporal.safetensors"]
    assert evaluate(*argv, "--out", tmp_path / "whole") == 0
    metadata = json.loads((tmp_path / "whole" / "samples" / "metadata.json").read_text())
    assert metadata["complete"] and len({tuple(row) for row in metadata["labels"]}) > 1
    files = {path.name: path for path in (tmp_path / "whole" / "samples").glob("*.npy")}
    assert {name: len(np.load(path)) for name, path in files.items()} == {
        "000000.npy": 2,
        "000002.npy": 1,
    }
    # As a kill leaves it: the first batch alone, and no figures.
    (tmp_path / "half" / "samples").mkdir(parents=True)
    half = tmp_path / "half" / "samples"
    (half / "metadata.json").write_text(json.dumps(metadata | {"complete": False}))
    marked = np.load(files["000000.npy"]) ^ 1
    np.save(half / "000000.npy", marked)
    assert evaluate(*argv, "--out", tmp_path / "half") == 0
    np.testing.assert_array_equal(np.load(half / "000000.npy"), marked)  # not made again
    np.testing.assert_array_equal(np.load(half / "000002.npy"), np.load(files["000002.npy"]))
    one, two = (metrics_of(tmp_path / name) for name in ("whole", "half"))
    assert one["recipe_id"] == two["recipe_id"] and two["recalled"] == 7
    assert one["recipe"]["samples"]["sampling"]["steps"] == 2


def test_without_a_floor_all_real_clips_are_compared_with(folders, tmp_path, capsys):
    out = tmp_path / "out"
    first = ["--real-windows", "first", "--no-floor"]
    assert evaluate(*folders, *FAST, *first, "--clips", 5, "--out", out) == 2
    assert "--clips 5 needs as many samples and real clips" in capsys.readouterr().err
    assert evaluate(*folders, *FAST, *first, "--clips", 4, "--out", out) == 0
    assert "4 samples against 4 real clips, no floor" in capsys.readouterr().out
    figures = metrics_of(out)["figures"]
    assert all(one["floor"] is None and one["clips"] == 4 for one in figures.values())


def test_figures_are_not_written_among_the_videos(folders, capsys):
    for videos in (Path(folders[1]), Path(folders[3])):
        before = sorted(videos.iterdir())
        assert evaluate(*folders, *FAST, "--out", videos) == 2
        assert "is a folder of videos that are compared" in capsys.readouterr().err
        assert sorted(videos.iterdir()) == before
