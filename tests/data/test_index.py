"""The index saves the scan, never remembers what passes, and no damage of it goes unsaid."""

import errno
import json
import os
import random

import numpy as np
import pytest
from synthetic_videos import encode, numbered, packed

from vldm_jax.core.errors import InputError
from vldm_jax.data import folder as folder_module
from vldm_jax.data import index as index_module
from vldm_jax.data.folder import read_folder
from vldm_jax.data.write import write_video


@pytest.fixture
def scanned(monkeypatch):
    """Names of the files that are decoded."""
    names, scan = [], folder_module.scan
    monkeypatch.setattr(folder_module, "scan", lambda path: names.append(path.name) or scan(path))
    return names


def test_the_index_saves_the_decode_until_a_file_changes(clips, tmp_path, scanned):
    index = tmp_path / "index.json"
    (clips / "text.mp4").write_text("not a video")
    packed(clips / "p.avi", numbered(10))
    encode(clips / "t.ts", numbered(10), np.arange(10) / 25)
    first = read_folder(clips, index=index)
    assert len(scanned) == 6
    scanned.clear()
    again = read_folder(clips, index=index)
    assert scanned == []
    assert again.reasons == first.reasons and again.skipped == first.skipped
    for a, b in zip(first.entries, again.entries, strict=True):
        np.testing.assert_array_equal(a.video.pts, b.video.pts)
        np.testing.assert_array_equal(a.video.times, b.video.times)
        np.testing.assert_array_equal(a.shots, b.shots)
        assert (a.name, a.video.time_base) == (b.name, b.video.time_base)
        assert (a.video.notes, a.video.seekable) == (b.video.notes, b.video.seekable)
    write_video(clips / "b.mp4", numbered(30), 30)
    assert len(read_folder(clips, index=index).entries[1].video.pts) == 30
    assert scanned == ["b.mp4"]


def test_a_variable_rate_survives_the_index():
    pts = np.array([5, 10, 15, 20, 27, 34, 35, 40])
    runs = list(index_module._pack(pts))
    assert len(runs) < len(pts)
    np.testing.assert_array_equal(index_module._unpack(runs), pts)
    np.testing.assert_array_equal(index_module._unpack([[7, 1]]), [7])


def test_modification_time_alone_makes_a_file_new(clips, tmp_path, scanned):
    read_folder(clips, index=tmp_path / "index.json")
    os.utime(clips / "a.mp4", ns=(1, 1))
    scanned.clear()
    read_folder(clips, index=tmp_path / "index.json")
    assert scanned == ["a.mp4"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_a_fault_that_passes_is_not_remembered(clips, tmp_path, monkeypatch, number):
    index, real = tmp_path / "index.json", os.open

    def refuse(path, *args, **kwargs):
        if os.fspath(path).endswith("b.mp4"):
            raise OSError(number, os.strerror(number))
        return real(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        folder = read_folder(clips, index=index)
    assert folder.reasons == {"unreadable": 1}
    assert "re-encode" not in folder.report() and "try again" in folder.report()
    assert len(read_folder(clips, index=index).entries) == 3


def test_a_file_that_is_being_written_is_not_remembered(clips, tmp_path, monkeypatch, scanned):
    index, scan = tmp_path / "index.json", folder_module.scan

    def grow(path):
        result = scan(path)
        if path.name == "b.mp4":
            os.utime(path)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(folder_module, "scan", grow)
        read_folder(clips, index=index)
    assert set(json.loads(index.read_text())["videos"]) == {"a.mp4", "sub/c.mp4"}


@pytest.mark.parametrize("version", [1, 2])
def test_an_index_of_before_is_made_again(clips, tmp_path, scanned, version):
    index = tmp_path / "index.json"
    index.write_text(json.dumps({"version": version, "videos": {"a.mp4": {"stamp": [1, 2]}}}))
    folder = read_folder(clips, index=index)
    assert len(folder.entries) == len(scanned) == 3 and "by another version" in folder.report()
    assert json.loads(index.read_text())["version"] == index_module.VERSION


def test_an_index_of_another_ffmpeg_is_made_again(clips, tmp_path, scanned, monkeypatch):
    """It may read more files, and call their frames by other names."""
    read_folder(clips, index=tmp_path / "index.json")
    monkeypatch.setattr(index_module.av, "ffmpeg_version_info", "99.0")
    scanned.clear()
    said = ["another version" in read_folder(clips, index=tmp_path / "index.json").report()]
    said += ["another version" in read_folder(clips, index=tmp_path / "index.json").report()]
    assert said == [True, False] and len(scanned) == 3


@pytest.mark.parametrize(
    "content",
    [
        "", "{", "[1]", "3", "null", '{"names": [], "clips": {}}', '{"version": 3}', "\0" * 99,
        "[" * 100_000, '{"version": 3, "videos": ' + "[" * 5_000 + "]" * 5_000 + "}",
    ],
)  # fmt: skip
def test_what_is_no_index_is_refused_and_left_alone(clips, tmp_path, content):
    index = tmp_path / "index.json"
    index.write_text(content)
    with pytest.raises(InputError, match="index of videos .*: remove it") as caught:
        read_folder(clips, index=index)
    assert str(index) in str(caught.value) and "\n" not in str(caught.value)
    assert index.read_text() == content


def changed(content, change):
    """An index with one thing in it changed, its sum left as it was."""
    index = json.loads(content)
    change(index)
    return json.dumps(index)


CHANGES = {
    "a number": lambda index: index["videos"]["a.mp4"]["pts"].__setitem__(0, [512, 10**30]),
    "a huge count": lambda index: index["videos"]["a.mp4"]["pts"].__setitem__(1, [1, 10**15]),
    "a record": lambda index: index["videos"].__setitem__("a.mp4", 3),
    "a lost field": lambda index: index["videos"]["a.mp4"].pop("shots"),
    "the table": lambda index: index.__setitem__("videos", [1, 2]),
    "the sum": lambda index: index.__setitem__("sum", {"a": []}),
    "no sum": lambda index: index.pop("sum"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_damaged_index_is_made_again_and_that_is_said(clips, tmp_path, scanned, name):
    index = tmp_path / "index.json"
    first = read_folder(clips, index=index)
    index.write_text(changed(index.read_text(), CHANGES[name]))
    scanned.clear()
    again = read_folder(clips, index=index)
    assert sorted(scanned) == ["a.mp4", "b.mp4", "c.mp4"]
    assert f"{index} was damaged: all videos were scanned again" in again.report()
    assert "was damaged" not in read_folder(clips, index=index).report()
    np.testing.assert_array_equal(again.entries[0].video.pts, first.entries[0].video.pts)


def test_no_damage_of_a_byte_changes_what_is_read(tmp_path):
    write_video(tmp_path / "v" / "a.mp4", numbered(10), 30)
    index = tmp_path / "index.json"
    expected = read_folder(tmp_path / "v", index=index).entries[0].video.pts
    content, chance = index.read_bytes(), random.Random(0)
    for _ in range(150):
        damaged = bytearray(content)
        damaged[chance.randrange(len(content))] = chance.randrange(256)
        index.write_bytes(damaged)
        try:
            found = read_folder(tmp_path / "v", index=index).entries[0].video.pts
        except InputError as error:
            assert str(index) in str(error) and "\n" not in str(error)
        else:
            np.testing.assert_array_equal(found, expected)


def test_an_index_that_cannot_be_read_is_named(clips, tmp_path):
    (tmp_path / "index.json").mkdir()
    with pytest.raises(InputError, match="index.json"):
        read_folder(clips, index=tmp_path / "index.json")
