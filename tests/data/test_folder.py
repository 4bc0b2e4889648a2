import json
import os

import numpy as np
import pytest
from synthetic_videos import join, scene, steady

from vldm_jax.core.errors import InputError
from vldm_jax.data import folder as folder_module
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
    assert folder.others == {".txt": 1, "hidden": 1}
    assert folder.left_out["not a video"] == ("empty.MOV", "text.mp4")
    assert set(folder.skipped) == {"text.mp4", "empty.MOV", "half.mp4"}
    report = folder.report()
    assert "skipped 2: not a video" in report and "skipped 1: truncated" in report
    assert str(clips / "half.mp4") in report
    assert "passed over 2 files: 1 .txt, 1 hidden" in report


def test_cuts_make_shots_unless_switched_off(tmp_path):
    write_video(tmp_path / "a.mp4", np.concatenate([scene(0, 20), scene(1, 25)]), 30)
    assert read_folder(tmp_path).entries[0].shots.tolist() == [[0, 20], [20, 45]]
    assert read_folder(tmp_path, cuts=False).entries[0].shots.tolist() == [[0, 45]]


def test_one_file_is_a_folder_of_one(clips):
    folder = read_folder(clips / "a.mp4")
    assert [entry.name for entry in folder.entries] == ["a.mp4"]
    np.testing.assert_array_equal(folder.entries[0].labels, [1, 4])


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


def test_a_note_on_a_video_is_in_the_report(clips):
    for name in ("t.ts", "u.ts", "v.ts", "w.ts"):
        steady(clips / name, scene(0, 5))
    report = read_folder(clips).report()
    assert (
        "noted 4: frames cannot be sought" in report and "(t.ts, u.ts, v.ts and 1 more)" in report
    )


def test_a_gap_between_joined_parts_is_no_footage(clips):
    steady(clips / "t.ts", scene(0, 25))
    join(clips / "j.ts", clips / "t.ts", clips / "t.ts")
    (clips / "t.ts").unlink()
    assert "4 videos, 5 shots, 7.8 s" in read_folder(clips).report()  # 3 x 59/30 + 2 x 24/25


def test_names_that_are_not_utf8_are_kept_reported_and_labelled(tmp_path):
    write_video(tmp_path / "x.mp4", scene(0, 20), 30)
    name, bad = os.fsdecode(b"caf\xe9.mp4"), os.fsdecode(b"b\xe4d.mp4")
    (tmp_path / "x.mp4").rename(tmp_path / name)
    (tmp_path / bad).write_bytes(b"")
    labels = {"names": ["night"], "clips": {name: [1]}}
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    for _ in range(2):  # scanned, then from the index
        folder = read_folder(tmp_path, index=tmp_path / "index" / "i.json")
        assert [entry.name for entry in folder.entries] == [name]
        np.testing.assert_array_equal(folder.entries[0].labels, [1])
        assert r"b\xe4d.mp4: not a video" in folder.report()
        folder.report().encode()  # prints anywhere


def test_a_file_that_vanishes_during_the_scan_is_skipped(clips, monkeypatch):
    scan = folder_module.scan

    def vanish(path):
        (clips / "b.mp4").unlink(missing_ok=True)
        return scan(path)

    monkeypatch.setattr(folder_module, "scan", vanish)
    folder = read_folder(clips, threads=1)
    assert [entry.name for entry in folder.entries] == ["a.mp4", "sub/c.mp4"]
    assert folder.reasons == {"unreadable": 1}
