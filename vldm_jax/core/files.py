"""Files that are whole or absent: written under a temporary name, then renamed."""

import contextlib
import hashlib
import json
import os
import re
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
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    _remove(temporary)
    try:
        yield temporary
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(temporary, path)
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


def check_replaceable(folder: str | os.PathLike[str], pattern: str) -> None:
    """Raise unless a folder can be written as a whole: it is absent, empty, or one like it.

    Args:
        folder: that `atomic_path` is going to replace.
        pattern: regular expression of the names that such a folder holds.

    Raises:
        InputError: naming what else it holds, which would be lost, or why it cannot be written.
    """
    check_writable(folder)
    path = Path(folder)
    if not path.is_dir():
        return
    for entry in sorted(path.iterdir()):
        if not re.fullmatch(pattern, entry.name):
            raise InputError(
                f"{folder} holds {entry.name}, which would be lost: choose another --out, or "
                "remove it first"
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
