import subprocess
import sys

import numpy as np
import pytest
from synthetic_videos import encode, number_of, numbered, scene

from vldm_jax.core.errors import InputError
from vldm_jax.data.pipeline import make_loader
from vldm_jax.data.record_source import records_source
from vldm_jax.data.records import build_records
from vldm_jax.data.source import folder_source
from vldm_jax.data.write import write_video

SIZE = dict(height=32, width=64)


@pytest.fixture
def stored(clips, tmp_path):
    (clips / "text.mp4").write_text("not a video")
    build_records(clips, tmp_path / "set", fps=7.5, **SIZE)
    return tmp_path / "set"


def test_records_give_nearly_what_the_folder_gives(clips, stored):
    records = records_source(stored, num_frames=4)
    folder = folder_source(clips, fps=7.5, num_frames=4, **SIZE)
    assert len(records) == len(folder) and records.label_names == folder.label_names
    for key in (0, 7, 20, 35):
        a, b = records[key], folder[key]
        assert np.abs(a["video"].astype(int) - b["video"]).mean() < 6  # one more encoding
        np.testing.assert_array_equal(a["labels"], b["labels"])
        assert (a["fps"], a["key"]) == (b["fps"], b["key"])
    assert records.describe(30) == "sub/c.mp4 record 2"


def test_a_lower_rate_and_smaller_size_from_the_same_records(tmp_path):
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "n.mp4", numbered(120), 30)
    build_records(tmp_path / "videos", tmp_path / "set", fps=15, cuts=False, **SIZE)
    source = records_source(tmp_path / "set", num_frames=5, fps=3, height=16, width=32)
    assert source[0]["video"].shape == (5, 16, 32, 3)
    for key, start in ((0, 0), (3, 30)):
        numbers = [number_of(frame) for frame in source[key]["video"]]
        assert numbers == [start + 10 * i for i in range(5)]
    assert records_source(tmp_path / "set", num_frames=1)[0]["image"].shape == (32, 64, 3)


def test_where_a_recording_stands_still_nothing_is_stored(tmp_path):
    (tmp_path / "videos").mkdir()
    times = np.concatenate([np.arange(40) / 30, 40 / 30 + np.arange(6), 8 + np.arange(40) / 30])
    encode(tmp_path / "videos" / "v.mkv", numbered(86), times)
    build_records(tmp_path / "videos", tmp_path / "set", fps=15, cuts=False, **SIZE)
    source = records_source(tmp_path / "set", num_frames=8)
    starts = set()
    for number in range(len(source)):
        numbers = [number_of(frame) for frame in source[number]["video"]]
        assert (np.diff(numbers) == 2).all()
        starts.add(numbers[0] < 43)
    assert starts == {True, False}


def test_shots_are_apart_and_long_ones_in_pieces(tmp_path):
    (tmp_path / "videos").mkdir()
    video = np.concatenate([scene(0, 40), scene(1, 100), scene(2, 6)])
    write_video(tmp_path / "videos" / "a.mp4", video, 30)
    report = build_records(
        tmp_path / "videos", tmp_path / "set", fps=15, longest=20, shortest=8, **SIZE
    )
    source = records_source(tmp_path / "set", num_frames=8, stride=100)
    lengths = [int(source._records[i]["num_frames"]) for i in range(len(source))]
    assert lengths == [20, 20, 20, 10]
    assert "dropped 1 shots shorter than 8 frames at 15 fps" in report


def test_the_report_travels_with_the_set(stored):
    report = records_source(stored, num_frames=4).report
    assert "skipped 1: not a video" in report and "stored 3 clips in 'train'" in report
    assert "36 windows of 4 frames" in report


def test_worker_processes_read_records(stored):
    source = records_source(stored, num_frames=4)
    with make_loader(source, batch_size=4, seed=0, shuffle=True, worker_count=1) as loader:
        batch = next(loader)
    assert batch["video"].shape == (4, 4, 32, 64, 3) and batch["labels"].shape == (4, 2)


def test_splits(clips, tmp_path):
    for number in range(8):
        write_video(clips / f"{number}.mp4", scene(number, 20), 30)
    build_records(clips, tmp_path / "set", fps=7.5, test_fraction=0.4, shortest=4, **SIZE)
    names = {}
    for split in ("train", "test"):
        source = records_source(tmp_path / "set", num_frames=4, split=split)
        names[split] = {source.describe(key).split(" ")[0] for key in range(len(source))}
    assert len(names["train"] | names["test"]) == 11 and not names["train"] & names["test"]


def test_tensorflow_is_not_needed(stored):
    code = f"""
import sys
from vldm_jax.data.record_source import records_source
print(records_source({str(stored)!r}, num_frames=4)[0]["video"].shape)
print("tensorflow" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split("\n")[:2] == ["(4, 32, 64, 3)", "False"], done.stderr


@pytest.mark.parametrize(
    "change, message",
    [
        ({"height": 31}, "even sizes, got 31x64"),
        ({"fps": 0}, "fps must be positive, got 0"),
        ({"fps": float("nan")}, "fps must be positive, got nan"),
        ({"test_fraction": 1.0}, r"test_fraction must lie in \[0, 1\), got 1.0"),
        ({"test_fraction": -0.1}, r"test_fraction must lie in \[0, 1\), got -0.1"),
        ({"crf": 52}, r"crf must lie in \[0, 51\], got 52"),
        ({"height": 720, "width": 1280}, "nothing to store .*3 videos smaller than 720x1280"),
        ({"fps": 60}, "3 videos slower than 60 fps"),
        ({"shortest": 100}, "3 shots shorter than 100 frames"),
    ],
)
def test_nothing_to_store_is_one_clear_line_and_leaves_nothing(clips, tmp_path, change, message):
    with pytest.raises(InputError, match=message) as caught:
        build_records(clips, tmp_path / "set", **{**SIZE, "fps": 7.5, **change})
    assert "\n" not in str(caught.value) and ".mp4" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["clips"]


@pytest.mark.parametrize("change", [{"fps": 0}, {"test_fraction": 1}, {"crf": -1}, {"width": 3}])
def test_what_is_out_of_range_is_said_before_any_work(clips, tmp_path, monkeypatch, change):
    monkeypatch.setattr(
        "vldm_jax.data.records.read_folder", lambda *args, **more: pytest.fail("scanned")
    )
    with pytest.raises(InputError):
        build_records(clips, tmp_path / "set", **{**SIZE, "fps": 7.5, **change})


def test_an_existing_folder_is_not_touched(clips, stored):
    with pytest.raises(InputError, match="exists already: give a new folder or remove it"):
        build_records(clips, stored, fps=7.5, **SIZE)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"num_frames": 50}, "no window of 50 frames .*longest 15 frames"),
        ({"fps": 30}, "stores 32x64 at 7.5 fps, asked for 32x64 at 30"),
        ({"height": 64}, "asked for 64x64"),
        ({"split": "test"}, "in the 0 clips of 'test'"),
        ({"fps": 0}, "fps must be positive, got 0"),
        ({"stride": 0}, "stride must be positive, got 0"),
        ({"test_fraction": 0.1}, "test_fraction=0.1 and cuts=True are decided when records are"),
        ({"cuts": False}, "leave them at 0.0 and True, or build the set again"),
    ],
)
def test_asking_for_what_is_not_stored(stored, change, message):
    with pytest.raises(InputError, match=message) as caught:
        records_source(stored, **{"num_frames": 4, **change})
    assert "\n" not in str(caught.value)


def test_both_sources_take_the_same_keys(clips, stored):
    keys = dict(split="train", test_fraction=0.0, cuts=True, enlarge=True, stride=1.0)
    size = dict(height=48, width=96, fps=7.5, num_frames=4)
    for source in (folder_source(clips, **size, **keys), records_source(stored, **size, **keys)):
        assert len(source) == 36 and source[0]["video"].shape == (4, 48, 96, 3)


def test_another_folder_is_no_set(clips):
    with pytest.raises(InputError, match="no stored set of clips: make one with `vldm data build`"):
        records_source(clips, num_frames=4)
