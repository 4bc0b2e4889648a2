"""Files that are whole or absent: written elsewhere, brought to the disk, then renamed.

"Elsewhere" is a scratch folder beside the target (`core.scratch`), so that the rename stays within
one file system and any number of writers of one file end with one that is whole. Both content and
name are synced: after a power cut there is the old file or the new one, never an empty one.
"""

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from vldm_jax.core.errors import InputError
from vldm_jax.core.scratch import ROOM, scratch_folder

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path of the same name; rename it to `path` if the block succeeds.

    Works for files and folders; whatever the block wrote is removed if it raises. An existing file
    is replaced; an existing folder is replaced as a whole.

    Raises:
        OSError: naming `path`, if there is no room for it; nothing of it is kept then.
    """
    path = Path(path).absolute()
    with naming_full_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch_folder(path.parent) as scratch:
            temporary = scratch / path.name
            yield temporary
            _sync(temporary)
            _rename(temporary, path)
            _sync_entry(path.parent)


@contextlib.contextmanager
def naming_full_disk(path: str | os.PathLike[str]) -> Iterator[None]:
    """Name `path` in the error of a full disk, which names no file by itself.

    Raises:
        OSError: with the number of the first.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise OSError(
            error.errno,
            f"{error.strerror}, nothing of it was kept: make room or write elsewhere",
            str(path),
        ) from error


def allocate(path: Path, size: int) -> None:
    """Give a file this many bytes of the disk now, so that no later write can find it full.

    Raises:
        OSError: if they cannot be had.
    """
    if sys.platform != "linux":  # elsewhere a full disk is met by the writes
        return
    try:
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} ({size / 2**30:.2f} GiB needed)") from error


def check_writable(folder: str | os.PathLike[str]) -> None:
    """Raise unless `folder` is a folder that can be written, or could be made; leaves nothing.

    Where the permissions allow it, it is tried: some file systems, as /proc, take nothing anyway.
    A full disk is not looked for: there may be room when it is needed.

    Raises:
        InputError: naming the folder.
    """
    path = Path(folder).absolute()
    while not path.exists():
        path = path.parent
    if not path.is_dir() or not os.access(path, os.W_OK):
        what = "is not writable" if path.is_dir() else "is a file"
        raise InputError(f"cannot write to the folder {folder}: {path} {what}; choose another one")
    trial = path / f"{ROOM}.{secrets.token_hex(8)}"
    try:
        trial.mkdir()
        trial.rmdir()
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise InputError(
                f"cannot write to the folder {folder}: {path} takes no new folder "
                f"({error.strerror}); choose another one"
            ) from error


def restore_replaced(path: str | os.PathLike[str]) -> None:
    """Bring back what a writer had moved out of the way of a new folder when it was killed."""
    path = Path(path)
    if not path.exists():
        for old in sorted(path.parent.glob(f".{path.name}.*.old"))[:1]:
            os.replace(old, path)


def check_new(folder: str | os.PathLike[str], replaced: Collection[str] = ()) -> None:
    """Raise unless `folder` can be made: it is absent or empty, so that nothing can be lost.

    What a dead writer has left in it does not count.

    Args:
        folder: to be written.
        replaced: names of files that may be there: an earlier result, which is made again.

    Raises:
        InputError: naming what it holds, or why it cannot be written.
    """
    check_writable(folder)
    path = Path(folder)
    if path.is_symlink():
        raise InputError(f"{folder} is a symbolic link: give the folder itself")
    if path.is_dir() and (
        entries := sorted(e for e in path.iterdir() if e.name not in (ROOM, *replaced))
    ):
        raise InputError(
            f"{folder} exists and holds {entries[0].name}: choose another folder, or remove it "
            "first"
        )


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the hexadecimal SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _rename(temporary: Path, path: Path) -> None:
    """Put a whole file or folder in its place, also while other writers do the same."""
    while True:
        old = path.with_name(f".{path.name}.{secrets.token_hex(8)}.old")
        if path.is_dir():  # only an empty folder would be replaced by the call below
            with contextlib.suppress(FileNotFoundError):
                os.replace(path, old)
        try:
            os.replace(temporary, path)
            return
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                continue  # another writer's folder came between
            if old.is_dir():
                os.replace(old, path)
            raise
        finally:
            shutil.rmtree(old, ignore_errors=True)


def _sync(path: Path) -> None:
    """Bring a file, or a folder with all in it, to the disk."""
    for folder, _, names in os.walk(path):
        for name in names:
            _sync_entry(Path(folder) / name)
        _sync_entry(Path(folder))
    if not path.is_dir():
        _sync_entry(path)


def _sync_entry(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    except OSError as error:  # some file systems cannot sync a folder
        if not (path.is_dir() and error.errno in (errno.EINVAL, errno.ENOTSUP, errno.EBADF)):
            raise
    finally:
        os.close(file)
