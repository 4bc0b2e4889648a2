"""Files that are whole or absent: written under a temporary name, then renamed."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vldm_jax.core.errors import InputError


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary sibling of `path` (same suffix); rename it to `path` if the block succeeds.

    Works for files and folders; whatever the block wrote is removed if it raises. An existing file
    is replaced; an existing folder is replaced as a whole.
    """
    path = Path(path).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    _remove(temporary)
    try:
        yield temporary
        if path.is_dir():  # only an empty folder would be replaced by the call below
            os.replace(path, old)
        try:
            os.replace(temporary, path)
        except OSError:
            if old.is_dir():
                os.replace(old, path)
            raise
        _remove(old)
    finally:
        _remove(temporary)


def check_writable(folder: str | os.PathLike[str]) -> None:
    """Raise unless `folder` is a folder that can be written, or could be made; makes nothing.

    Raises:
        InputError: naming the folder.
    """
    path = Path(folder).absolute()
    while not path.exists():
        path = path.parent
    if not path.is_dir() or not os.access(path, os.W_OK):
        what = "is not writable" if path.is_dir() else "is a file"
        raise InputError(f"cannot write to the folder {folder}: {path} {what}; choose another one")


def check_new(folder: str | os.PathLike[str]) -> None:
    """Raise unless `folder` can be made: it is absent or empty, so that nothing can be lost.

    Raises:
        InputError: naming what it holds, or why it cannot be written.
    """
    check_writable(folder)
    path = Path(folder)
    if path.is_symlink():
        raise InputError(f"{folder} is a symbolic link: give the folder itself")
    if path.is_dir() and (entries := sorted(path.iterdir())):
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


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
