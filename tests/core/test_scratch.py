import fcntl
import os
import subprocess
import sys
import time

import pytest

from vldm_jax.core import scratch
from vldm_jax.core.scratch import ROOM, scratch_folder, sweep

WRITE_FOR_EVER = """
import sys, time
from pathlib import Path
from vldm_jax.core.scratch import scratch_folder
with scratch_folder(Path(sys.argv[1])) as folder:
    (folder / "half").write_text("half")
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def writer(tmp_path):
    """A process that is writing into `tmp_path`."""
    command = [sys.executable, "-c", WRITE_FOR_EVER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        process.folder = process.stdout.readline().strip()
        yield process
        process.kill()


def test_a_scratch_folder_is_gone_after_its_block(tmp_path):
    with scratch_folder(tmp_path) as folder:
        (folder / "a").touch()
        assert folder.parent == tmp_path / ROOM
    assert not list(tmp_path.iterdir())


def test_what_a_killed_writer_left_is_removed_by_the_next_and_only_that(tmp_path, writer):
    with scratch_folder(tmp_path):
        pass
    assert os.listdir(writer.folder) == ["half"]  # it lives
    writer.kill()
    writer.wait()
    with scratch_folder(tmp_path) as folder:
        assert not os.path.exists(writer.folder)
        assert sorted(os.listdir(tmp_path / ROOM)) == [folder.name, f"{folder.name}.lock"]
    assert not list(tmp_path.iterdir())


def test_what_another_machine_left_stays_for_a_day(tmp_path, monkeypatch):
    """Its lock may not be seen from here, so a free one does not say that it is dead."""
    with scratch_folder(tmp_path) as folder:
        (folder / "half").touch()
        os.mkdir(tmp_path / "kept")
        lock = folder.with_name(folder.name + ".lock")
        os.rename(lock, tmp_path / "kept" / "lock")
        os.rename(folder, tmp_path / "kept" / "folder")
    os.mkdir(tmp_path / ROOM)
    os.rename(tmp_path / "kept" / "lock", lock)
    os.rename(tmp_path / "kept" / "folder", folder)
    os.rmdir(tmp_path / "kept")

    monkeypatch.setattr(scratch, "_machine", lambda: "another")
    sweep(tmp_path)
    assert (folder / "half").exists()
    a_day_ago = time.time() - 25 * 3600
    for path in (lock, folder):
        os.utime(path, (a_day_ago, a_day_ago))
    sweep(tmp_path)
    assert (folder / "half").exists()  # it was written to a moment ago
    os.utime(folder / "half", (a_day_ago, a_day_ago))
    sweep(tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_is_removed_where_there_are_no_locks(tmp_path, writer, monkeypatch):
    def refuse(file, operation):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with scratch_folder(tmp_path) as folder:
        assert folder.is_dir() and os.path.exists(writer.folder)
    assert os.listdir(writer.folder) == ["half"]


def test_a_sweep_between_the_making_of_a_lock_and_its_taking_costs_only_another_try(
    tmp_path, monkeypatch
):
    lock, swept = fcntl.flock, []

    def sweep_first(file, operation):
        if not swept:
            swept.append(True)
            sweep(tmp_path)
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", sweep_first)
    with scratch_folder(tmp_path) as folder:
        sweep(tmp_path)
        assert folder.is_dir()
    assert swept and not list(tmp_path.iterdir())


def test_whoever_may_write_beside_it_may_write_into_it(tmp_path):
    tmp_path.chmod(0o777)
    with scratch_folder(tmp_path):
        assert (tmp_path / ROOM).stat().st_mode & 0o777 == 0o777


def test_a_missing_folder_has_nothing_to_sweep(tmp_path):
    sweep(tmp_path / "absent")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("read", ["listdir", "scandir"])
def test_the_room_may_vanish_while_it_is_looked_through(tmp_path, monkeypatch, read):
    """Another writer, the last one in it, removes it at that moment."""
    room, really = tmp_path / ROOM, getattr(os, read)

    def too_late(path="."):
        if str(path) == str(room):
            room.rmdir()
        return really(path)

    room.mkdir()
    monkeypatch.setattr(os, read, too_late)
    sweep(tmp_path)
    assert not room.exists()
