"""Weights files of this project: found by the kind that they must hold, read later.

A weights file describes itself (kind, fields of the module), so whoever stands on it names only the
file, and all that can be compared is compared before an array is read.
"""

import dataclasses
import functools
from pathlib import Path
from typing import Any

from vldm_jax.checkpoint.weights import WEIGHTS, load_weights, read_meta
from vldm_jax.core.assets import resolve
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import sha256
from vldm_jax.interop.finite import not_finite
from vldm_jax.typing import PyTree


@dataclasses.dataclass(frozen=True, eq=False)
class WeightsFile:
    """A weights file and what it says of itself; its arrays are not read.

    Attributes:
        path: as the user named it.
        file: where it is.
        meta: its description: kind, config (the module's fields) and more.
    """

    path: str
    file: Path
    meta: dict[str, Any]

    @functools.cached_property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of the file, which is read once however many stand on it."""
        status = self.file.stat()
        return _sha256(self.file, status.st_size, status.st_mtime_ns, status.st_ino)

    def read(self) -> PyTree:
        """Return its arrays, nested, as NumPy in the type that they are stored in.

        Raises:
            InputError: if one holds a value that is not a finite number.
        """
        params = load_weights(self.file)[0]
        if bad := not_finite(params):
            raise InputError(
                f"{self.path}: {sum(bad.values()):,} values in {len(bad)} arrays are NaN or "
                f"infinite, first in {next(iter(bad))!r}: the weights are damaged; make them again"
            )
        return params


@functools.lru_cache(maxsize=64)
def _sha256(file: Path, size: int, changed: int, inode: int) -> str:
    """Return the SHA-256 of a file; the rest tells one that was written anew."""
    del size, changed, inode
    return sha256(file)


def find_weights(path: str | None, kinds: tuple[str, ...], flag: str) -> WeightsFile:
    """Return a weights file of one of these kinds.

    Args:
        path: file, or "asset:NAME"; a stage's workdir means its exported file.
        kinds: what it may hold.
        flag: what the user named it with, for messages: "--config.model.backbone".

    Raises:
        InputError: if it is not given, missing, unreadable or of another kind.
    """
    wanted = " or ".join(kinds)
    if not path:
        raise InputError(f"{flag[2:]} is not set: give {wanted} weights, {flag}=FILE")
    try:
        file = _weights_in(path)
        meta = read_meta(file)
    except InputError as error:
        raise InputError(f"{flag}: {error}") from error
    if meta["kind"] not in kinds:
        raise InputError(f"{flag}: {path} holds weights of kind {meta['kind']!r}, not {wanted!r}")
    return WeightsFile(str(path), file, meta)


def _weights_in(path: str) -> Path:
    """Return the file that a path names, or the one that a stage has left in that folder."""
    file = resolve(path)
    if file.is_dir() and not (file / WEIGHTS).is_file():
        raise InputError(
            f"the folder {path} holds no {WEIGHTS}; a stage writes it when it ends, and a public "
            "checkpoint must come in first, with vldm convert import"
        )
    return file / WEIGHTS if file.is_dir() else file
