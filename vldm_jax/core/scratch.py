"""Scratch folders beside what is being written, which no dead writer leaves behind for good.

    FOLDER/.vldm-partial/TOKEN.MACHINE/        what is being written
    FOLDER/.vldm-partial/TOKEN.MACHINE.lock    locked (flock) by its writer as long as that lives

The token is random and the lock file is made exclusively, so writers never meet, whatever process,
container or host they are in. The kernel drops the lock of a writer that is killed: whoever comes
next to the same folder takes it and removes what was left. Some file systems keep locks within one
machine, or have none. What another machine has left is therefore removed only once nothing in it
has changed for a day, and nothing is removed where there are no locks.
"""

import contextlib
import fcntl
import os
import platform
import secrets
import shutil
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

ROOM = ".vldm-partial"
ABANDONED_SECONDS = 24 * 3600


@contextlib.contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """Yield a new folder on the file system of `parent`; it is gone when the block ends.

    First removes what dead writers have left in `parent`.
    """
    sweep(parent)
    room = parent / ROOM
    try:
        lock, file = _claim(room)
        folder = lock.with_suffix("")
        try:
            folder.mkdir()
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)
            os.close(file)
    finally:
        with contextlib.suppress(OSError):  # others are writing
            room.rmdir()


def sweep(parent: Path) -> None:
    """Remove what dead writers have left in a folder, which may be missing."""
    room = parent / ROOM
    for lock in _locks(room):
        # An error means that the writer lives, has just ended, or is no business of this user.
        with contextlib.suppress(OSError), _opened(lock) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            folder = lock.with_suffix("")
            if folder.suffix == f".{_machine()}" or _is_abandoned(lock, folder):
                shutil.rmtree(folder, ignore_errors=True)
                lock.unlink()
    with contextlib.suppress(OSError):
        room.rmdir()


def _locks(room: Path) -> list[Path]:
    """Return the lock files of a room, which may be missing, and may go while it is read."""
    try:
        return [room / name for name in os.listdir(room) if name.endswith(".lock")]
    except OSError:
        return []


def _claim(room: Path) -> tuple[Path, int]:
    """Make a lock file of our own; return it with its descriptor, which holds the lock."""
    for _ in range(100):
        lock = room / f"{secrets.token_hex(8)}.{_machine()}.lock"
        try:
            _make(room)
            file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        except FileNotFoundError:  # another writer found the room empty and removed it
            continue
        if _holds(file, lock):
            return lock, file
        os.close(file)
    raise OSError(f"{room}: others keep removing it: write into another folder")


def _make(room: Path) -> None:
    """Make the room, for all who may write beside it."""
    with contextlib.suppress(FileExistsError):
        room.mkdir()
        shutil.copymode(room.parent, room)


def _holds(file: int, lock: Path) -> bool:
    """Lock a file; return False if a sweep came between its making and this."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks here: nobody can take ours for a dead one's
        return True
    return lock.exists()


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    file = os.open(path, os.O_RDWR)
    try:
        yield file
    finally:
        os.close(file)


def _is_abandoned(lock: Path, folder: Path) -> bool:
    newest = max(path.lstat().st_mtime for path in (lock, folder, *folder.rglob("*")))
    return time.time() - newest > ABANDONED_SECONDS


def _machine() -> str:
    """A name of this machine since its start, the same in all of its containers."""
    try:
        name = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        name = platform.node()
    return f"{zlib.crc32(name.encode()):08x}"
