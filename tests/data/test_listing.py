"""Every file of a folder is looked at, named or counted, wherever links lead."""

import errno
import os

import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.data.listing import SUFFIXES, list_videos


def put(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def names(listing):
    return [file.relative_to(listing.root).as_posix() for file in listing.files]


def test_videos_by_any_suffix_and_the_rest_by_count(tmp_path):
    put(tmp_path, "b.MP4", "a/c.mts", "labels.json", "notes.txt", "more.txt", "raw", ".h.mp4")
    put(tmp_path, "boxes.npz", "a/boxes.npz")
    listing = list_videos(tmp_path)
    assert names(listing) == ["a/c.mts", "b.MP4"]
    assert listing.others == {".txt": 2, "without a suffix": 1, "hidden": 1, ".npz": 1}
    assert listing.faults == {}


@pytest.mark.parametrize(
    "suffix", "mts m2ts mxf vob dv y4m ogg ogv webp mpg mod tod qt divx f4v wtv apng ivf".split()
)
def test_what_ffmpeg_opens_is_a_video_by_its_name(suffix):
    assert f".{suffix}" in SUFFIXES


def test_linked_folders_are_followed_and_loops_end(tmp_path):
    put(tmp_path, "in/a.mp4", "in/deep/b.mp4", "out/c.mp4", "out/deep/d.mp4")
    (tmp_path / "in" / "more").symlink_to(tmp_path / "out")
    (tmp_path / "in" / "deep" / "up").symlink_to(tmp_path / "in")
    (tmp_path / "out" / "self").symlink_to("self")
    (tmp_path / "out" / "back").symlink_to(tmp_path)
    found = names(list_videos(tmp_path / "in"))
    assert found == ["a.mp4", "deep/b.mp4", "more/c.mp4", "more/deep/d.mp4"]


def test_a_folder_that_is_here_keeps_its_own_name(tmp_path):
    put(tmp_path, "z/a.mp4")
    (tmp_path / "first").symlink_to(tmp_path / "z")
    (tmp_path / "second").symlink_to(tmp_path / "z")
    assert names(list_videos(tmp_path)) == ["z/a.mp4"]


def test_a_link_to_a_file_is_that_file_and_a_lost_one_is_named(tmp_path):
    put(tmp_path, "set/a.mp4", "elsewhere.mp4")
    (tmp_path / "set" / "b.mp4").symlink_to(tmp_path / "elsewhere.mp4")
    (tmp_path / "set" / "lost.mp4").symlink_to(tmp_path / "nowhere.mp4")
    (tmp_path / "set" / "round.mp4").symlink_to("round.mp4")
    os.mkfifo(tmp_path / "set" / "pipe.mp4")
    listing = list_videos(tmp_path / "set")
    assert names(listing) == ["a.mp4", "b.mp4"]
    reasons = {name: error.reason for name, error in listing.faults.items()}
    assert reasons == {"lost.mp4": "missing", "round.mp4": "missing", "pipe.mp4": "not a video"}


def refuse(monkeypatch, function, forbidden):
    """Let a function of `os` fail as it does without permission, which root always has."""
    real = getattr(os, function)

    def guarded(path, *args, **kwargs):
        if os.fspath(path) == str(forbidden):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, function, guarded)


def test_a_folder_that_may_not_be_read_is_named_so(tmp_path, monkeypatch):
    put(tmp_path, "a.mp4", "b/c.mp4")
    with monkeypatch.context() as patch:
        refuse(patch, "listdir", tmp_path / "b")
        listing = list_videos(tmp_path)
    assert names(listing) == ["a.mp4"]
    assert "permission denied" in str(listing.faults["b"]) and listing.faults["b"].passing
    refuse(monkeypatch, "listdir", tmp_path)
    with pytest.raises(InputError, match="unreadable .permission denied.: make it readable"):
        list_videos(tmp_path)


@pytest.mark.parametrize("name", ["x.mp4", "folder"])
def test_a_path_behind_a_closed_door_is_not_missing(tmp_path, monkeypatch, name):
    refuse(monkeypatch, "stat", tmp_path / name)
    with pytest.raises(InputError, match="unreadable .permission denied"):
        list_videos(tmp_path / name)


def test_no_folder_and_no_video_say_so(tmp_path):
    for path in (tmp_path / "nowhere", tmp_path / "a.txt" / "b"):
        put(tmp_path, "a.txt")
        with pytest.raises(InputError, match="no such folder of videos"):
            list_videos(path)
    put(tmp_path, "b.txt", ".c.mp4")
    with pytest.raises(InputError, match=r"no videos .*holds 3 files: 2 \.txt, 1 hidden"):
        list_videos(tmp_path)
