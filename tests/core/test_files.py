import errno
import hashlib
import json
import os
import subprocess
import sys
import threading

import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.core.files import allocate, atomic_path, check_new, sha256, write_json
from vldm_jax.core.scratch import ROOM


def test_file_appears_whole(tmp_path):
    write_json(tmp_path / "new" / "a.json", {"b": [1]})
    assert json.loads((tmp_path / "new" / "a.json").read_text()) == {"b": [1]}
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.json"]


def test_failure_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_folder_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "stale").touch()
    with atomic_path(path) as temporary:
        temporary.mkdir()
        (temporary / "fresh").touch()
    assert [p.name for p in path.iterdir()] == ["fresh"]


def test_a_folder_that_cannot_be_replaced_stays(tmp_path, monkeypatch):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old").touch()
    rename = os.replace

    def fail_once_written(source, target):
        if ROOM in str(source):
            raise OSError("device or resource busy")
        rename(source, target)

    monkeypatch.setattr(os, "replace", fail_once_written)
    with pytest.raises(OSError, match="busy"), atomic_path(path) as temporary:
        temporary.mkdir()
    assert [p.name for p in path.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [path]


def test_the_current_folder_is_a_folder(tmp_path, monkeypatch):
    (tmp_path / "new").mkdir()
    monkeypatch.chdir(tmp_path / "new")
    with atomic_path(".") as temporary:
        temporary.mkdir()
        (temporary / "a").touch()
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a"]


def test_new_means_absent_or_empty(tmp_path):
    check_new(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    check_new(tmp_path / "empty")
    (tmp_path / "empty" / ROOM).mkdir()  # of a writer that was killed
    check_new(tmp_path / "empty")
    with pytest.raises(InputError, match="exists and holds empty"):
        check_new(tmp_path)


def test_sha256(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x" * (3 << 20))
    assert sha256(path) == hashlib.sha256(b"x" * (3 << 20)).hexdigest()


def test_writers_with_equal_numbers_never_meet(tmp_path, monkeypatch):
    """Containers count their processes from 1, so all of them may write as number 7."""
    monkeypatch.setattr(os, "getpid", lambda: 7)
    path = tmp_path / "a.txt"
    with atomic_path(path) as first:
        first.write_text("the first, whole")
        with atomic_path(path) as second:
            assert second != first
            second.write_text("half")
            assert first.read_text() == "the first, whole"
        assert path.read_text() == "half"
    assert path.read_text() == "the first, whole"
    assert list(tmp_path.iterdir()) == [path]


def test_writers_of_one_folder_at_once_all_end_with_a_whole_one(tmp_path):
    path, errors = tmp_path / "folder", []

    def write(number):
        try:
            for _ in range(10):
                with atomic_path(path) as temporary:
                    temporary.mkdir()
                    for name in "abc":
                        (temporary / name).write_text(str(number))
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert [file.name for file in sorted(path.iterdir())] == ["a", "b", "c"]
    assert len({file.read_text() for file in path.iterdir()}) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_content_and_name_are_on_the_disk_before_the_file_has_its_name(tmp_path, monkeypatch):
    done, sync, rename = [], os.fsync, os.replace

    def note_sync(file):
        done.append(("sync", os.readlink(f"/proc/self/fd/{file}").split("/")[-1]))
        sync(file)

    def note_rename(source, target):
        done.append(("rename", target.name))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_rename)
    write_json(tmp_path / "a.json", {})
    assert done == [("sync", "a.json"), ("rename", "a.json"), ("sync", tmp_path.name)]
    done.clear()
    with atomic_path(tmp_path / "folder") as temporary:
        (temporary / "sub").mkdir(parents=True)
        (temporary / "sub" / "b").touch()
    before = done[: done.index(("rename", "folder"))]
    assert sorted(before) == [("sync", "b"), ("sync", "folder"), ("sync", "sub")]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_told_with_the_name_of_the_file(tmp_path, number):
    with pytest.raises(OSError, match="nothing of it was kept: make room") as caught:
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise OSError(number, "no file is named here")
    assert str(tmp_path / "a.txt") in str(caught.value) and "\n" not in str(caught.value)
    assert caught.value.errno == number and not list(tmp_path.iterdir())


def test_a_disk_that_is_full_only_when_synced_leaves_the_old_file(tmp_path, monkeypatch):
    """Many file systems find room for the bytes only as they are written back."""
    path = tmp_path / "a.json"
    write_json(path, "old")

    def refuse(file):
        raise OSError(errno.ENOSPC, "")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="a.json"):
        write_json(path, "new")
    assert json.loads(path.read_text()) == "old" and list(tmp_path.iterdir()) == [path]


def test_a_limit_of_the_system_on_a_files_size_is_told_like_a_full_disk(tmp_path):
    code = f"""
import resource, signal
from vldm_jax.core.files import atomic_path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
with atomic_path({str(tmp_path / "a.bin")!r}) as temporary:
    temporary.write_bytes(bytes(2000))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].endswith(
        f"make room or write elsewhere: '{tmp_path}/a.bin'"
    )
    assert not list(tmp_path.iterdir())


def test_allocated_bytes_are_on_the_disk(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"head")
    allocate(path, 1 << 20)
    assert path.stat().st_size == 1 << 20 and path.stat().st_blocks * 512 >= 1 << 20
    assert path.read_bytes()[:5] == b"head\0"
