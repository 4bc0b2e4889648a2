import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from vldm_jax.core import scratch
from vldm_jax.core.errors import InputError
from vldm_jax.core.scratch import ROOM
from vldm_jax.data.boxes import boxes_source, read_boxes
from vldm_jax.data.folder import read_folder
from vldm_jax.data.record_source import records_source
from vldm_jax.driving.builder import TEST_OFFSET, build_records
from vldm_jax.driving.clips import render_clip
from vldm_jax.driving.folder import build_folder

RECIPE = dict(num_frames=8, size=(32, 64))
FRAMES = 16  # of a clip that takes long enough to be interrupted


@pytest.fixture(scope="module")
def folder(renderer, tmp_path_factory):
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


def test_records_hold_clips_and_boxes_and_are_read_as_windows(renderer, tmp_path):
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
    boxed = boxes_source(tmp_path / "a", height=32, width=64, fps=30, num_frames=8)
    for t, boxes in enumerate(clip["boxes"]):
        np.testing.assert_array_equal(boxed[0]["boxes"][t][boxed[0]["is_box"][t]], boxes)


def test_a_folder_and_its_boxes_are_a_source_of_both(folder):
    source = boxes_source(folder, height=32, width=64, fps=15, num_frames=4)
    clip = render_clip(5, **RECIPE)
    example = source[0]
    for t, frame in enumerate((0, 2, 4, 6)):
        found = example["boxes"][t][example["is_box"][t]]
        np.testing.assert_allclose(found, clip["boxes"][frame], atol=1 / 2048)


def test_splits_cannot_overlap(tmp_path):
    with pytest.raises(InputError, match="seed \\+ clips <="):
        build_records(tmp_path / "new", clips=10, seed=TEST_OFFSET - 5)
    (tmp_path / "mine").touch()
    with pytest.raises(InputError, match="exists and holds mine: choose another folder"):
        build_records(tmp_path, clips=1)


@pytest.mark.parametrize("build", [build_folder, build_records])
@pytest.mark.parametrize(
    "change, message",
    [
        ({"size": (31, 64)}, "even and at least 16 pixels, not 31x64"),
        ({"num_frames": 0}, "num_frames=0 >= 1"),
        ({"fps": 0.0}, "fps=0.0 > 0"),
        ({"seed": -1}, "seed"),
        ({"crf": 52}, r"crf must lie in \[0, 51\], got 52"),
        ({"clips": 0}, "0"),
    ],
)
def test_bad_arguments_are_one_clear_line_before_any_work(
    tmp_path, monkeypatch, build, change, message
):
    for module in ("folder", "builder"):
        place = f"vldm_jax.driving.{module}.open_canvas"
        monkeypatch.setattr(place, lambda *size: pytest.fail("began"))
    with pytest.raises(InputError, match=message) as caught:
        build(tmp_path / "out", **{"clips": 1, **RECIPE, **change})
    assert "\n" not in str(caught.value) and ".mp4" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for build in (build_folder, build_records):
        with pytest.raises(InputError, match=r"notes\.txt is a file"):
            build(tmp_path / "notes.txt" / "out", clips=1)


@pytest.mark.parametrize(
    "content",
    [
        '{"names": ["night',
        "[1, 2]",
        '{"clips": 3}',
        "\x00",
        "[" * 10**5,
        '{"clips": {"a.mp4": [0, 3]}}',
        '{"clips": {"000000.mp4": [0]}}',
        '{"clips": {"000000.mp4": 0}}',
    ],
)
def test_a_damaged_list_is_one_clear_line_and_is_left_alone(renderer, tmp_path, content):
    (tmp_path / "labels.json").write_text(content)
    match = r"labels\.json(: not a table of labels| lists no clips| lists '.*mp4')"
    with pytest.raises(InputError, match=match) as caught:
        build_folder(tmp_path, 1, **RECIPE)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "labels.json").read_text() == content


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "no boxes", "short"])
def test_damaged_boxes_are_one_clear_line(tmp_path, damage):
    arrays = {name: np.zeros(3) for name in ("clip", "frame", "car", "box")}
    if damage == "no boxes":
        del arrays["box"]
    if damage == "short":
        arrays["car"] = np.zeros(2)
    path = tmp_path / "boxes.npz"
    np.savez_compressed(path, **arrays)
    whole = path.read_bytes()
    content = {"cut": whole[:-30], "text": b"text", "empty": b""}
    path.write_bytes(content[damage] if damage in content else whole)
    with pytest.raises(InputError, match="boxes.npz is damaged .*: remove the folder") as caught:
        read_boxes(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def whole(renderer, tmp_path_factory):
    """Four clips made at one go."""
    out = tmp_path_factory.mktemp("whole") / "clips"
    build_folder(out, 4, seed=5, workers=1, num_frames=FRAMES, size=(32, 64))
    return out


@pytest.mark.slow
@pytest.mark.parametrize(
    "stop", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)]
)
def test_a_build_that_is_stopped_early_goes_on_to_the_same_result(whole, tmp_path, stop):
    # A second before each clip is written, so that the signal comes before the last one; and a
    # handler of its own, because a background job of a shell is started deaf to SIGINT.
    script = (
        "import signal, time; from vldm_jax.driving import folder; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); write = folder.write_video; "
        "folder.write_video = lambda *a, **k: (time.sleep(1), write(*a, **k)); "
        f"folder.build_folder('clips', 4, seed=5, workers=1, num_frames={FRAMES}, size=(32, 64))"
    )
    folder = tmp_path / "clips"
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    while not (folder / "000001.mp4").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(stop)
    process.communicate(timeout=60)
    assert process.returncode != 0 and not (folder / "000003.mp4").exists()
    listed = json.loads((folder / "labels.json").read_text())["clips"]
    assert bool(listed) == (stop == signal.SIGINT)
    kept = {name: (folder / name).stat().st_mtime_ns for name in listed}
    build_folder(folder, 4, seed=5, workers=1, num_frames=FRAMES, size=(32, 64))
    assert kept == {name: (folder / name).stat().st_mtime_ns for name in listed}
    names = {path.name for path in whole.iterdir()}
    assert {path.name for path in folder.iterdir()} == names
    for name in names - {"boxes.npz"}:
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
    ours, theirs = read_boxes(folder), read_boxes(whole)
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name])


def test_a_lost_clip_is_made_again_and_a_half_written_one_removed(renderer, tmp_path):
    labels = build_folder(tmp_path / "clips", 2, seed=5, workers=1, **RECIPE)
    content = (tmp_path / "clips" / "000001.mp4").read_bytes()
    (tmp_path / "clips" / "000001.mp4").unlink()
    room = tmp_path / "clips" / ROOM  # as a killed build leaves it
    half = room / f"0.{scratch._machine()}"
    half.mkdir(parents=True)
    (room / f"{half.name}.lock").touch()
    (half / "000001.mp4").write_bytes(content[:99])
    assert build_folder(tmp_path / "clips", 2, seed=5, workers=1, **RECIPE) == labels
    assert (tmp_path / "clips" / "000001.mp4").read_bytes() == content
    assert not list((tmp_path / "clips").glob(".*"))
