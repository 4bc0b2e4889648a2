import json
import os

import numpy as np
import pytest
from synthetic_videos import scene

from vldm_jax.core.errors import InputError
from vldm_jax.data import folder as folder_module
from vldm_jax.data import index as index_module
from vldm_jax.data.folder import read_folder
from vldm_jax.data.write import write_video


def test_videos_labels_and_order(clips):
    folder = read_folder(clips)
    assert [entry.name for entry in folder.entries] == ["a.mp4", "b.mp4", "sub/c.mp4"]
    assert folder.label_names == ("night", "cars")
    np.testing.assert_array_equal(
        [entry.labels for entry in folder.entries], [[1, 4], [np.nan, np.nan], [0, np.nan]]
    )
    assert folder.skipped == {} and "3 videos, 3 shots" in folder.report()


def test_without_labels_there_are_none(clips):
    (clips / "labels.json").unlink()
    folder = read_folder(clips)
    assert folder.label_names == ()
    assert all(entry.labels.shape == (0,) for entry in folder.entries)


def test_bad_videos_are_skipped_counted_and_named(clips):
    content = (clips / "b.mp4").read_bytes()
    (clips / "text.mp4").write_text("not a video")
    (clips / "empty.MOV").write_bytes(b"")
    (clips / "half.mp4").write_bytes(content[: len(content) // 2])
    (clips / ".hidden.mp4").write_text("not looked at")
    (clips / "notes.txt").write_text("not looked at")
    folder = read_folder(clips)
    assert [entry.name for entry in folder.entries] == ["a.mp4", "b.mp4", "sub/c.mp4"]
    assert folder.reasons == {"not a video": 2, "truncated": 1}
    assert set(folder.skipped) == {"text.mp4", "empty.MOV", "half.mp4"}
    report = folder.report()
    assert "skipped 2: not a video" in report and "skipped 1: truncated" in report
    assert str(clips / "half.mp4") in report


def test_cuts_make_shots_unless_switched_off(tmp_path):
    write_video(tmp_path / "a.mp4", np.concatenate([scene(0, 20), scene(1, 25)]), 30)
    assert read_folder(tmp_path).entries[0].shots.tolist() == [[0, 20], [20, 45]]
    assert read_folder(tmp_path, cuts=False).entries[0].shots.tolist() == [[0, 45]]


def test_one_file_is_a_folder_of_one(clips):
    folder = read_folder(clips / "a.mp4")
    assert [entry.name for entry in folder.entries] == ["a.mp4"]
    np.testing.assert_array_equal(folder.entries[0].labels, [1, 4])


def test_the_index_saves_the_decode_until_a_file_changes(clips, tmp_path, monkeypatch):
    index = tmp_path / "index.json"
    (clips / "text.mp4").write_text("not a video")
    first = read_folder(clips, index=index)
    decoded = []
    scan = folder_module.scan
    monkeypatch.setattr(folder_module, "scan", lambda path: decoded.append(path.name) or scan(path))
    again = read_folder(clips, index=index)
    assert decoded == []
    assert again.reasons == first.reasons and again.skipped == first.skipped
    for a, b in zip(first.entries, again.entries, strict=True):
        np.testing.assert_array_equal(a.video.pts, b.video.pts)
        np.testing.assert_array_equal(a.shots, b.shots)
        assert (a.name, a.video.time_base) == (b.name, b.video.time_base)
    write_video(clips / "b.mp4", scene(5, 30), 30)
    assert len(read_folder(clips, index=index).entries[1].video.pts) == 30
    assert decoded == ["b.mp4"]


def test_a_variable_rate_survives_the_index():
    pts = np.array([5, 10, 15, 20, 27, 34, 35, 40])
    runs = list(index_module._pack(pts))
    assert len(runs) < len(pts)
    np.testing.assert_array_equal(index_module._unpack(runs), pts)
    np.testing.assert_array_equal(index_module._unpack([[7, 1]]), [7])


@pytest.mark.parametrize(
    "content, message",
    [
        ("{", "not JSON"),
        ("[1]", "lacks 'names' or 'clips'"),
        ('{"names": ["a"]}', "lacks 'names' or 'clips'"),
        ('{"names": "a", "clips": {}}', "'names' must be a list of text"),
        ('{"names": ["a"], "clips": [1]}', "'clips' a table"),
        ('{"names": ["a"], "clips": {"a.mp4": [1, 2]}}', "must have 1 numbers or null"),
        ('{"names": ["a"], "clips": {"a.mp4": ["x"]}}', "must have 1 numbers or null"),
        ('{"names": ["a"], "clips": {"gone.mp4": [1]}}', "names 'gone.mp4', which is not in the"),
    ],
)
def test_bad_labels_are_one_clear_line(clips, content, message):
    (clips / "labels.json").write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        read_folder(clips)
    assert str(clips / "labels.json") in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_folder(tmp_path):
    with pytest.raises(InputError, match="no such folder of videos: give an existing folder"):
        read_folder(tmp_path / "nowhere")


def test_an_empty_folder(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match="no videos in this folder: add files that end in .mp4"):
        read_folder(tmp_path)


def test_nothing_usable_says_why(tmp_path):
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_text("not a video")
    with pytest.raises(InputError, match=r"none of its 2 videos .*2 not a video.*a\.mp4") as caught:
        read_folder(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_broken_index_is_named(clips, tmp_path):
    (tmp_path / "index.json").write_text(json.dumps([1]))
    with pytest.raises(InputError, match="not an index of videos .* remove it"):
        read_folder(clips, index=tmp_path / "index.json")


def test_modification_time_alone_makes_a_file_new(clips, tmp_path, monkeypatch):
    read_folder(clips, index=tmp_path / "index.json")
    os.utime(clips / "a.mp4", ns=(1, 1))
    decoded = []
    scan = folder_module.scan
    monkeypatch.setattr(folder_module, "scan", lambda path: decoded.append(path.name) or scan(path))
    read_folder(clips, index=tmp_path / "index.json")
    assert decoded == ["a.mp4"]
