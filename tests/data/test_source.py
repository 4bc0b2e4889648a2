import dataclasses
import errno
import os
import resource

import numpy as np
import pytest
from synthetic_videos import encode, number_of, numbered, packed, scene

from vldm_jax.core.errors import InputError
from vldm_jax.data.read import read_frames
from vldm_jax.data.source import folder_source, with_cache
from vldm_jax.data.write import write_video

SMALL = dict(height=32, width=64, fps=7.5, num_frames=4)


def test_an_example_is_what_the_package_says(clips):
    source = folder_source(clips, **SMALL)
    assert len(source) == 3 * 12  # 60 frames give 15 steps of 4, of which 12 start a window of 4
    example = source[0]
    assert set(example) == {"video", "labels", "fps", "key"}
    assert example["video"].shape == (4, 32, 64, 3) and example["video"].dtype == np.uint8
    np.testing.assert_array_equal(example["labels"], np.float32([1, 4]))
    assert example["labels"].dtype == np.float32
    assert example["fps"] == np.float32(7.5) and example["key"] == 0
    assert example["key"].dtype == np.int32
    assert source.describe(25) == "sub/c.mp4 at 0.13 s"


def test_the_right_frames_come_out(tmp_path):
    write_video(tmp_path / "n.mp4", numbered(90), 30)
    source = folder_source(tmp_path, cuts=False, **SMALL)
    assert [number_of(frame) for frame in source[3]["video"]] == [12, 16, 20, 24]


def test_one_frame_is_an_image(clips):
    source = folder_source(clips, **{**SMALL, "num_frames": 1})
    assert len(source) == 3 * 15
    assert set(source[0]) == {"image", "labels", "fps", "key"}
    assert source[0]["image"].shape == (32, 64, 3)


@pytest.mark.parametrize("stride", [0.25, 1, 4])
def test_a_cache_changes_nothing(clips, tmp_path, stride):
    plain = folder_source(clips, stride=stride, **SMALL)
    for cache in ("memory", tmp_path / "cache"):
        cached = folder_source(clips, stride=stride, cache=cache, **SMALL)
        assert len(cached) == len(plain)
        for key in range(0, len(plain), 5):
            a, b = plain[key], cached[key]
            for name in a:
                np.testing.assert_array_equal(a[name], b[name])


def test_a_cache_holds_only_the_frames_in_use_and_is_used_again(clips, tmp_path):
    cache = tmp_path / "cache"
    source = folder_source(clips, cache=cache, **SMALL)
    assert len(source.cache.array) == 3 * 15
    (file,) = cache.glob("frames-*.npy")
    before = file.stat().st_mtime_ns
    folder_source(clips, cache=cache, **SMALL)
    assert file.stat().st_mtime_ns == before
    os.utime(clips / "a.mp4", ns=(1, 1))  # the video may have changed
    folder_source(clips, cache=cache, **SMALL)
    assert len(list(cache.glob("frames-*.npy"))) == 2
    assert len(list(cache.glob("index-*.json"))) == 1


def test_a_disk_without_room_for_the_cache_is_known_before_any_work(clips, tmp_path, monkeypatch):
    def refuse(file, start, size):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    monkeypatch.setattr("vldm_jax.data.cache.read_frames", lambda *args: pytest.fail("decoded"))
    with pytest.raises(OSError, match=r"No space left on device \(0.00 GiB needed\), nothing") as e:
        folder_source(clips, cache=tmp_path / "cache", **SMALL)
    assert "cache/frames-" in str(e.value) and "\n" not in str(e.value)
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".json"]  # the index


def test_a_disk_that_fills_while_the_cache_is_written_is_an_error_and_no_signal(
    clips, tmp_path, monkeypatch
):
    monkeypatch.setattr("vldm_jax.data.cache.allocate", lambda path, size: None)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    source = folder_source(clips, **SMALL)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        with pytest.raises(OSError, match="nothing of it was kept: make room.*cache/frames-"):
            with_cache(source, tmp_path / "cache")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("damage", [b"", b"text", None])
def test_a_damaged_cache_is_made_again(clips, tmp_path, damage):
    cache = tmp_path / "cache"
    expected = folder_source(clips, cache=cache, **SMALL)[3]["video"].copy()
    (file,) = cache.glob("frames-*.npy")
    file.write_bytes(file.read_bytes()[:-1] if damage is None else damage)
    again = folder_source(clips, cache=cache, **SMALL)
    np.testing.assert_array_equal(again[3]["video"], expected)


def test_more_frames_than_memory_is_one_clear_line(clips):
    source = folder_source(clips, **SMALL)
    with pytest.raises(InputError, match=r"GiB for 45 frames of 4000000x4000000: give a folder"):
        with_cache(dataclasses.replace(source, height=4_000_000, width=4_000_000), "memory")


def test_long_videos_are_cached_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr("vldm_jax.data.cache.CHUNK", 16)
    write_video(tmp_path / "n.mp4", numbered(90), 30)
    plain = folder_source(tmp_path, cuts=False, stride=0.25, **SMALL)
    cached = with_cache(plain, "memory", threads=3)
    for key in range(0, len(plain), 7):
        np.testing.assert_array_equal(plain[key]["video"], cached[key]["video"])


def test_windows_stay_inside_shots(tmp_path):
    write_video(tmp_path / "a.mp4", np.concatenate([scene(0, 20), scene(1, 25)]), 30)
    source = folder_source(tmp_path, stride=0.25, **SMALL)
    assert not any((window < 20).any() and (window >= 20).any() for window in source.frames)
    assert len(source) == (20 - 12) + (25 - 12)


def test_splits_share_nothing_and_cover_all(tmp_path):
    for number in range(12):
        write_video(tmp_path / f"{number}.mp4", scene(number, 20), 30)
    parts = {
        split: folder_source(tmp_path, test_fraction=0.4, split=split, **SMALL)
        for split in ("train", "test")
    }
    names = {
        split: {source.entries[video].name for video in source.video}
        for split, source in parts.items()
    }
    assert names["train"] | names["test"] == {f"{number}.mp4" for number in range(12)}
    assert not names["train"] & names["test"]
    assert parts["test"].reasons == {"all in the other split": len(names["train"])}


def test_what_gives_no_window_is_counted_by_reason(clips):
    write_video(clips / "short.mp4", scene(0, 8), 30)
    write_video(clips / "slow.mp4", scene(0, 20), 5)
    write_video(clips / "tiny.mp4", scene(0, 60, 24, 40), 30)
    (clips / "text.mp4").write_text("not a video")
    source = folder_source(clips, **SMALL)
    assert source.reasons == {
        "too short for 4 frames at 7.5 fps": 1,
        "slower than 7.5 fps": 1,
        "smaller than 32x64": 1,
        "not a video": 1,
    }
    for reason in source.reasons:
        assert f"skipped 1: {reason}" in source.report
    assert source.left_out["smaller than 32x64"] == ("tiny.mp4",)
    assert "skipped 1: smaller than 32x64 (tiny.mp4)" in source.report
    assert "36 windows of 4 frames at 7.5 fps, 32x64 in 3 videos" in source.report
    assert {source.entries[video].name for video in source.video} == {
        "a.mp4",
        "b.mp4",
        "sub/c.mp4",
    }
    assert len(folder_source(clips, enlarge=True, **SMALL)) == 48


def test_odd_sizes_are_fine(tmp_path):
    encode(
        tmp_path / "o.mkv", scene(0, 30, 71, 133), np.arange(30) / 30, codec="ffv1", pix_fmt="bgr0"
    )
    assert folder_source(tmp_path, **SMALL)[0]["video"].shape == (4, 32, 64, 3)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"num_frames": 100}, "no window of 100 frames at 7.5 fps .*3 too short for 100 frames"),
        ({"fps": 60}, "3 slower than 60 fps"),
        ({"height": 720, "width": 1280}, "3 smaller than 720x1280"),
        ({"fps": 0}, "fps must be positive, got 0"),
        ({"fps": float("inf")}, "fps must be positive, got inf"),
        ({"fps": float("nan")}, "fps must be positive, got nan"),
        ({"fps": 1e12}, "3 slower than 1e.12 fps"),
        ({"stride": -1}, "stride must be positive"),
        ({"split": "val"}, 'split must be "train" or "test"'),
    ],
)
def test_unusable_requests_are_one_clear_line(clips, change, message):
    with pytest.raises(InputError, match=message) as caught:
        folder_source(clips, **{**SMALL, **change})
    assert str(clips) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "places", [{"cache": "bad"}, {"index": "bad/i.json"}, {"cache": "bad", "index": "good/i.json"}]
)
def test_a_place_that_cannot_be_written_is_one_clear_line_before_the_scan(
    clips, tmp_path, monkeypatch, places
):
    monkeypatch.setattr("vldm_jax.data.folder.scan", lambda path: pytest.fail("scanned"))
    (tmp_path / "bad").write_text("a file")
    places = {key: tmp_path / place / "more" for key, place in places.items()}
    with pytest.raises(InputError, match="bad is a file; choose another") as caught:
        folder_source(clips, **SMALL, **places)
    assert "\n" not in str(caught.value)


def test_an_absurd_rate_of_images_gives_each_frame_once(clips):
    """It asked for terabytes."""
    source = folder_source(clips, **{**SMALL, "num_frames": 1, "fps": 1e12})
    assert len(source) == 3 * 60


def test_good_stretches_of_a_variable_rate_give_windows(tmp_path):
    times = np.concatenate([np.arange(60), 60 + np.arange(60) / 30])
    encode(tmp_path / "v.mkv", numbered(120), times, options={"g": "20"})
    source = folder_source(tmp_path, cuts=False, **SMALL)
    for number in range(len(source)):
        numbers = [number_of(frame) for frame in source[number]["video"]]
        assert len(set(numbers)) == 4 and numbers[0] >= 58
    assert len(source) >= 12


def test_an_example_of_a_file_without_an_index_is_the_same_from_the_cache(tmp_path):
    packed(tmp_path / "p.avi", numbered(40))
    encode(tmp_path / "t.ts", numbered(40), np.arange(40) / 25)
    plain = folder_source(tmp_path, cuts=False, **SMALL)
    cached = folder_source(tmp_path, cuts=False, cache="memory", **SMALL)
    assert len(plain) > 10
    for key in range(len(plain)):
        np.testing.assert_array_equal(plain[key]["video"], cached[key]["video"])


def test_a_file_without_an_index_is_decoded_once_for_the_cache(tmp_path, monkeypatch):
    """Each piece of it would be decoded from the start of the file."""
    monkeypatch.setattr("vldm_jax.data.cache.CHUNK", 4)
    paths = []
    monkeypatch.setattr(
        "vldm_jax.data.cache.read_frames",
        lambda path, pts: paths.append(path.name) or read_frames(path, pts),
    )
    packed(tmp_path / "p.avi", numbered(40))
    write_video(tmp_path / "n.mp4", numbered(40), 25)
    folder_source(tmp_path, cuts=False, cache="memory", **SMALL)
    assert paths.count("p.avi") == 1 and paths.count("n.mp4") > 1


def test_a_name_that_is_not_utf8_is_described_in_text_that_prints(tmp_path):
    write_video(tmp_path / "x.mp4", scene(0, 30), 30)
    (tmp_path / "x.mp4").rename(tmp_path / os.fsdecode(b"caf\xe9.mp4"))
    source = folder_source(tmp_path, test_fraction=0.0, **SMALL)
    assert source.describe(0) == r"caf\xe9.mp4 at 0.00 s"
    source.report.encode()
