"""`vldm evaluate` of a stack: its videos, asked for what real ones are, and their figures."""

import json

import numpy as np
import pytest
from moving_scenes import scene
from small_stack import write_stack

from vldm_jax.cli.main import main
from vldm_jax.core.json_files import read_json
from vldm_jax.data.write import write_video
from vldm_jax.stack import clips

FRAMES = 4
WORDS = ["--figures", "flicker,motion", "--frames", str(FRAMES)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    return write_stack(tmp_path_factory.mktemp("evaluated_stack"))


@pytest.fixture
def real(tmp_path, monkeypatch):
    """Eight videos with labels."""
    monkeypatch.setenv("VLDM_FEATURE_CACHE", str(tmp_path / "numbers"))
    folder = tmp_path / "real"
    for number in range(8):
        write_video(folder / f"{number}.mp4", scene(3 * FRAMES, number), 1.875)
    labels = {f"{number}.mp4": [number % 2, number] for number in range(8)}
    (folder / "labels.json").write_text(json.dumps({"names": ["night", "cars"], "clips": labels}))
    return folder


@pytest.fixture
def evaluate(stack, real, tmp_path):
    def call(*more):
        words = ["--config", stack, "--real", real, "--out", tmp_path / "out", *WORDS, *more]
        return main(["evaluate", *map(str, words)])

    return call


def test_a_stack_s_videos_are_asked_for_what_the_real_ones_are(
    evaluate, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(clips, "TOGETHER", 2)
    assert evaluate("--clips", "3") == 0
    metrics = read_json(tmp_path / "out" / "metrics.json", "")
    assert metrics["recipe"]["clips"] == 3 and metrics["recipe"]["fps"] == 1.875
    assert metrics["recipe"]["conditions"] == "those of the real clips"
    assert metrics["figures"]["motion"]["floor"] > 0
    told = read_json(tmp_path / "out" / "samples" / "metadata.json", "")
    assert told["complete"] and len({json.dumps(row) for row in told["labels"]}) == 3
    made = sorted((tmp_path / "out" / "samples").iterdir())
    assert [file.name for file in made if file.suffix == ".npy"] == [
        "000000.npy", "000001.npy", "000002.npy",
    ]  # fmt: skip
    assert not [file for file in made if file.is_dir()]  # what lay between the parts
    videos = [np.load(file) for file in made if file.suffix == ".npy"]
    assert {video.shape for video in videos} == {(FRAMES, 8, 8, 3)}
    apart = [np.abs(videos[0].astype(int) - other).max() for other in videos[1:]]
    assert min(apart) > 10


def test_an_evaluation_that_was_stopped_makes_only_what_is_missing(evaluate, tmp_path, monkeypatch):
    monkeypatch.setattr(clips, "TOGETHER", 1)
    film, calls = clips.stack_film, []

    def stopping(*args):
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append(args)
        return film(*args)

    monkeypatch.setattr(clips, "stack_film", stopping)
    assert evaluate("--clips", "2") != 0
    first = (tmp_path / "out" / "samples" / "000000.npy").stat().st_mtime_ns
    calls.clear()
    assert evaluate("--clips", "2") == 0
    assert len(calls) == 1
    assert (tmp_path / "out" / "samples" / "000000.npy").stat().st_mtime_ns == first


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--weights", "x"], "config.parts.NAME.weights"),
        (["--real", "nowhere"], "nowhere: no such folder of videos"),
        (["--fps", "30"], "clips with fps 30.0 are asked for, the stack makes 1.875"),
        (["--size", "64x64"], "the stack makes (8, 8)"),
        (["--clips", "50"], "--clips 50 needs"),
        (["--figures", "psnr"], "psnr takes something beside each clip"),
        (["--config.parts.keyframes.weights=gone"], "config.parts.keyframes: gone does not exist"),
    ],
)
def test_what_cannot_be_is_one_line_before_anything_is_made(
    evaluate, tmp_path, capsys, words, message
):
    assert evaluate(*words) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not (tmp_path / "out" / "samples").exists()


def test_a_stack_without_real_videos_is_told_what_to_give(stack, tmp_path, capsys):
    assert main(["evaluate", "--config", str(stack), "--out", str(tmp_path / "out"), *WORDS]) == 2
    assert "--real FOLDER" in capsys.readouterr().err
    assert main(["evaluate", "--out", str(tmp_path / "out"), *WORDS]) == 2
    assert "one of --samples, --workdir and --weights is required" in capsys.readouterr().err
