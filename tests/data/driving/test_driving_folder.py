import json

import numpy as np
import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.data.driving.builder import TEST_OFFSET, Driving, build_records
from vldm_jax.data.driving.clips import render_clip
from vldm_jax.data.driving.folder import build_folder, read_boxes
from vldm_jax.data.folder import read_folder
from vldm_jax.data.record_source import records_source

RECIPE = dict(num_frames=8, size=(32, 64))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("panda3d")
    out = tmp_path_factory.mktemp("driving") / "clips"
    build_folder(out, 2, seed=5, workers=2, **RECIPE)
    return out


def test_a_folder_is_read_by_the_pipeline_with_its_labels(folder):
    scanned = read_folder(folder)
    assert scanned.label_names == ("night", "cars")
    assert [entry.name for entry in scanned.entries] == ["000000.mp4", "000001.mp4"]
    for number, entry in enumerate(scanned.entries):
        clip = render_clip(5 + number, **RECIPE)
        np.testing.assert_array_equal(entry.labels, clip["labels"])
        assert (entry.video.height, entry.video.width, len(entry.video.pts)) == (32, 64, 8)


def test_boxes_are_stored_with_clip_and_frame(folder):
    rows = read_boxes(folder)
    clip = render_clip(6, **RECIPE)
    mine = (rows["clip"] == 1) & (rows["frame"] == 3)
    np.testing.assert_array_equal(rows["car"][mine], clip["ids"][3])
    np.testing.assert_allclose(rows["box"][mine], clip["boxes"][3], atol=1 / 2048)


def test_a_build_goes_on_where_it_stopped(folder):
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.mp4")}
    labels = build_folder(folder, 2, seed=5, workers=1, **RECIPE)
    assert before == {path.name: path.stat().st_mtime_ns for path in folder.glob("*.mp4")}
    assert labels == json.loads((folder / "labels.json").read_text())["clips"]


def test_a_folder_of_another_build_is_left_alone(folder, tmp_path):
    with pytest.raises(InputError, match="made another way"):
        build_folder(folder, 2, seed=9, **RECIPE)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"not empty and holds no labels\.json"):
        build_folder(tmp_path, 1)
    with pytest.raises(InputError, match="at least 1"):
        build_folder(tmp_path / "new", 0)
    assert not (tmp_path / "new").exists()


def test_no_boxes_in_a_foreign_folder(tmp_path):
    with pytest.raises(InputError, match=r"boxes\.npz does not exist"):
        read_boxes(tmp_path)


def test_records_hold_clips_and_boxes_and_are_read_as_windows(tmp_path):
    pytest.importorskip("panda3d")
    import tensorflow_datasets as tfds

    for name in ("a", "b"):
        build_records(tmp_path / name, clips=1, test_clips=1, seed=5, workers=1, **RECIPE)
    first, second = (
        {p.name: p.read_bytes() for p in (tmp_path / name).glob("*array_record*")}
        for name in ("a", "b")
    )
    assert first == second and len(first) == 2
    builder = tfds.builder_from_directory(str(tmp_path / "a"))
    record = builder.as_data_source("train")[0]
    clip = render_clip(5, **RECIPE)
    np.testing.assert_array_equal(record["labels"], clip["labels"])
    np.testing.assert_array_equal(record["box"], np.concatenate(clip["boxes"]))
    np.testing.assert_array_equal(record["box_car"], np.concatenate(clip["ids"]))
    assert record["seed"] == 5
    assert builder.as_data_source("test")[0]["seed"] == 5 + TEST_OFFSET
    source = records_source(tmp_path / "a", num_frames=4)
    example = source[0]
    assert example["video"].shape == (4, 32, 64, 3) and source.label_names == ("night", "cars")
    # H.264 at crf 17 of a tiny picture: close, not equal.
    difference = example["video"].astype(float) - clip["video"][:4]
    assert np.abs(difference).mean() < 8.0


def test_splits_cannot_overlap(tmp_path):
    with pytest.raises(InputError, match="seed \\+ clips <="):
        Driving(tmp_path, clips=10, seed=TEST_OFFSET - 5)
    with pytest.raises(InputError, match="exists already"):
        build_records(tmp_path, clips=1)
