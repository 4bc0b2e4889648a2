import hashlib
import json
import os

import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.core.files import atomic_path, check_new, sha256, write_json


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
        if ".tmp" in str(source):
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
    with pytest.raises(InputError, match="exists and holds empty"):
        check_new(tmp_path)


def test_sha256(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x" * (3 << 20))
    assert sha256(path) == hashlib.sha256(b"x" * (3 << 20)).hexdigest()
