"""`vldm evaluate` of what clips show of what was asked for: who has labels, and who has none."""

import json

import numpy as np
import pytest

from vldm_jax.cli import main as entry
from vldm_jax.core.assets import resolve
from vldm_jax.data.write import write_video

AGREEMENT = "agreement_night,agreement_cars,agreement_cars_order"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VLDM_FEATURE_CACHE", str(tmp_path / "numbers"))


def write_clips(folder, count, values=None, frames=6):
    """Videos of noise; with labels if there are values."""
    random = np.random.default_rng(count)
    names = [f"{number}.mp4" for number in range(count)]
    for name in names:
        write_video(
            folder / name, random.integers(0, 255, (frames, 64, 128, 3)).astype(np.uint8), 8
        )
    if values is not None:
        content = {"names": ["night", "cars"], "clips": dict(zip(names, values, strict=True))}
        (folder / "labels.json").write_text(json.dumps(content))


def evaluate(*argv):
    return entry.main(["evaluate", *map(str, argv)])


@pytest.fixture
def folders(tmp_path):
    return [
        "--real", tmp_path / "real", "--samples", tmp_path / "made", "--frames", 4,
        "--figures", AGREEMENT, "--out", tmp_path / "out",
    ]  # fmt: skip


def test_folders_with_labels_have_agreement(folders, tmp_path):
    write_clips(tmp_path / "real", 8, [[i % 2, i] for i in range(8)])
    write_clips(tmp_path / "made", 4, [[i % 2, i] for i in range(4)])
    assert evaluate(*folders) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert set(metrics["figures"]) == set(AGREEMENT.split(","))
    night = metrics["figures"]["agreement_night"]
    assert 0 <= night["value"] <= 1 and 0 <= night["floor"] <= 1
    assert night["made_by"]["extractor"] == "detector" and "weights" in night["made_by"]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (None, "agreement_night needs the label 'night', which the samples do not have: give"),
        ([[1, 2], [0, 1], [None, 3], [1, 1]], "'night', which is unknown of 1 of 4 samples"),
    ],
)
def test_clips_without_labels_are_refused_in_one_line(folders, tmp_path, capsys, made, message):
    write_clips(tmp_path / "real", 8, [[i % 2, i] for i in range(8)])
    write_clips(tmp_path / "made", 4, made)
    assert evaluate(*folders) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_a_run_whose_data_has_no_labels_is_refused_before_anything_is_sampled(tmp_path, capsys):
    write_clips(tmp_path / "real", 4, frames=16)
    argv = [
        "--config", "configs/driving/video.py:tiny", f"--config.data.path={tmp_path / 'real'}",
        "--weights", "asset:driving/temporal.safetensors", "--figures", AGREEMENT,
        "--out", tmp_path / "out",
    ]  # fmt: skip
    assert evaluate(*argv) == 2
    assert "needs the label 'night', which is unknown of 2 of 2 samples" in capsys.readouterr().err
    assert not (tmp_path / "out" / "samples").exists()


def test_weights_of_something_else_are_no_detector(folders, tmp_path, capsys):
    weights = resolve("asset:driving/image.safetensors")
    assert evaluate(*folders, "--network", f"detector={weights}") == 2
    assert "holds weights of kind 'unet', not 'detector'" in capsys.readouterr().err


def test_boxes_are_of_runs_that_are_told_them(folders, tmp_path, capsys):
    """No folder has them, and a model that is not asked for boxes is not judged by them."""
    for name in ("real", "made"):
        (tmp_path / name).mkdir()
    assert evaluate(*folders, "--figures", "agreement_boxes") == 2
    assert "agreement_boxes is of a run whose samples are asked for" in capsys.readouterr().err
    run = ["--config", "configs/driving/image.py:tiny"]
    run += ["--weights", "asset:driving/image.safetensors"]
    assert evaluate(*run, "--figures", "agreement_boxes", "--out", tmp_path / "run") == 2
    err = capsys.readouterr().err
    assert "agreement_boxes is of samples that were asked for boxes" in err and err.count("\n") == 1
    assert not (tmp_path / "run").exists()
