import errno
import os
import pickle
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from synthetic_videos import encode, number_of, numbered, scene

from vldm_jax.core.errors import InputError
from vldm_jax.core.scratch import ROOM
from vldm_jax.data.boxes import boxes_source
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


def test_records_of_a_folder_have_no_boxes(stored):
    source = boxes_source(stored, num_frames=4, fps=7.5, **SIZE)
    with pytest.raises(InputError, match="its records have no boxes: build a set that has"):
        source[0]


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
    lengths = [source.records[i].num_frames for i in range(len(source))]
    assert lengths == [20, 20, 20, 10]
    assert "dropped 1 shot shorter than 8 frames at 15 fps" in report


def test_the_report_travels_with_the_set(stored):
    report = records_source(stored, num_frames=4).report
    assert "skipped 1: not a video" in report and "stored 3 clips in 'train'" in report
    assert "36 windows of 4 frames" in report


def test_a_source_travels_to_worker_processes(stored):
    source = records_source(stored, num_frames=4)
    copy = pickle.loads(pickle.dumps(source))
    assert len(copy) == len(source) == 36
    np.testing.assert_array_equal(copy[7]["video"], source[7]["video"])
    np.testing.assert_array_equal(copy[7]["labels"], source[7]["labels"])


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
        (
            {"height": 720, "width": 1280},
            "nothing to store .*3 videos smaller than 720x1280; at 72x128 all would stay",
        ),
        ({"fps": 60}, "3 videos slower than 60 fps; at 30 fps all would stay"),
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
    with pytest.raises(InputError, match="exists and holds dataset_info.json: choose another"):
        build_records(clips, stored, fps=7.5, **SIZE)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"num_frames": 50}, "no window of 50 frames .*longest 15 frames"),
        ({"fps": 30}, "stores 32x64 at 7.5 fps, asked for 32x64 at 30"),
        ({"height": 64}, "asked for 64x64"),
        ({"split": "test"}, r"no clips in 'test', it has \{'train': 3\}: ask for another split"),
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


def test_what_is_left_out_is_named_with_what_would_keep_it(tmp_path, capsys):
    (tmp_path / "videos").mkdir()
    for name, fps in (("film", 24000 / 1001), ("pal", 25), ("ntsc", 30000 / 1001), ("old", 15)):
        write_video(tmp_path / "videos" / f"{name}.mp4", scene(0, 30), fps)
    write_video(tmp_path / "videos" / "small.mp4", scene(0, 30, height=24, width=48), 30)
    report = build_records(tmp_path / "videos", tmp_path / "set", fps=30, **SIZE)
    assert "stored 1 clip in 'train'" in report  # 29.97 serves 30
    assert (
        "  dropped 1 videos smaller than 32x64; at 24x48 all would stay\n"
        "    small.mp4 (24x48)\n"
        "  dropped 3 videos slower than 30 fps; at 15 fps all would stay\n"
        "    film.mp4 (23.976 fps)\n    old.mp4 (15 fps)\n    pal.mp4 (25 fps)\n"
    ) in report
    said = capsys.readouterr().err
    assert "dropped 3 videos slower than 30 fps; at 15 fps all would stay" in said
    assert records_source(tmp_path / "set", num_frames=4).report.startswith(report)

    report = build_records(tmp_path / "videos", tmp_path / "all", height=24, width=48, fps=15)
    assert "stored 5 clips in 'train'" in report and "dropped" not in report


def test_a_split_that_gets_nothing_is_told(clips, tmp_path, capsys):
    report = build_records(clips, tmp_path / "set", fps=7.5, test_fraction=0.01, **SIZE)
    note = "no clip in 'test': the hash of no shot falls there at test_fraction=0.01; choose"
    assert note in report and note in capsys.readouterr().err
    with pytest.raises(InputError, match="no clips in 'test', it has {'train': 3}"):
        records_source(tmp_path / "set", num_frames=4, split="test")
    report = build_records(clips, tmp_path / "other", fps=7.5, test_fraction=0.99, **SIZE)
    assert "no clip in 'train'" in report
    assert "no clip in" not in build_records(clips, tmp_path / "third", fps=7.5, **SIZE)


@pytest.mark.parametrize("limit", [300, 3_000, 90_000])
def test_a_full_disk_is_one_line_that_names_the_set_and_nothing_is_left(clips, tmp_path, limit):
    """The first limit stops a clip's mp4, the last the set's own files (at least 64 KiB)."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        with pytest.raises(OSError, match="File too large, nothing of it was kept.*/set'") as e:
            build_records(clips, tmp_path / "set", fps=7.5, **SIZE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert "\n" not in str(e.value) and e.value.errno == errno.EFBIG
    assert [path.name for path in tmp_path.iterdir()] == ["clips"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_a_killed_build_left_is_removed_by_the_next(clips, tmp_path, number):
    code = f"""
import time
from vldm_jax.data import records
store = records._store
records._store = lambda *job: store(*job) and time.sleep(60)
records.build_records({str(clips)!r}, {str(tmp_path / "set")!r}, height=32, width=64, fps=7.5)
"""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = {**os.environ, "TMPDIR": str(scratch)}
    with subprocess.Popen([sys.executable, "-c", code], env=environment) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / ROOM).exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
    assert (tmp_path / ROOM).exists() and not (tmp_path / "set").exists()
    build_records(clips, tmp_path / "other", fps=7.5, **SIZE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clips", "other", "scratch"]
    assert not list(scratch.iterdir())


def test_another_folder_is_no_set(clips):
    with pytest.raises(InputError, match="no stored set of clips: make one with `vldm data build`"):
        records_source(clips, num_frames=4)
