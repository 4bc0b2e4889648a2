"""Which files a checkpoint consists of: their sizes and SHA-256, so that no damage goes unseen.

    <step>/manifest.json    {"files": {"state/d/3b01...": {"bytes": 192, "sha256": "9f..."}, ...}}

Process 0 writes it when all processes have written theirs, in the background and before the
checkpoint gets its name: what has the name has the manifest. Orbax touches two files afterwards,
its mark of completion; they hold nothing that a restore reads, and are left out.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from vldm_jax.core.errors import InputError
from vldm_jax.core.files import sha256, write_json
from vldm_jax.core.json_files import read_json

MANIFEST = "manifest.json"
MARKS = ("_CHECKPOINT_METADATA", "commit_success.txt")  # of orbax, in the checkpoint's folder
THREADS = min(8, os.cpu_count() or 1)  # hashing leaves the interpreter to the others


def write_manifest(checkpoint: Path) -> None:
    """Write the manifest of all that is in a checkpoint's folder."""
    names = sorted(
        path.relative_to(checkpoint).as_posix()
        for path in checkpoint.rglob("*")
        if path.is_file() and path not in [checkpoint / name for name in (*MARKS, MANIFEST)]
    )
    with ThreadPoolExecutor(THREADS) as pool:
        digests = list(pool.map(lambda name: sha256(checkpoint / name), names))
    files = {
        name: {"bytes": (checkpoint / name).stat().st_size, "sha256": digest}
        for name, digest in zip(names, digests, strict=True)
    }
    write_json(checkpoint / MANIFEST, {"files": files})


def find_change(checkpoint: Path, under: str = "") -> str | None:
    """Return how a checkpoint differs from its manifest, or None.

    Args:
        checkpoint: folder with a manifest.
        under: only files whose names begin so.
    """
    try:
        files = _read(checkpoint / MANIFEST)
    except InputError as error:
        return str(error)
    files = {name: entry for name, entry in files.items() if name.startswith(under)}
    for name, entry in files.items():  # first what costs nothing
        path = checkpoint / name
        if not path.is_file():
            return f"{name} is missing"
        if (size := path.stat().st_size) != entry["bytes"]:
            return f"{name} has {size} bytes, {entry['bytes']} were written"

    def changed(name: str) -> str | None:
        try:
            if sha256(checkpoint / name) == files[name]["sha256"]:
                return None
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
        return f"{name} has another content than was written"

    with ThreadPoolExecutor(THREADS) as pool:
        return next(filter(None, pool.map(changed, files)), None)


def _read(path: Path) -> dict[str, dict[str, Any]]:
    manifest = read_json(path, "a checkpoint's manifest", remedy="the checkpoint is damaged")
    files = manifest.get("files")
    whole = isinstance(files, dict) and all(
        isinstance(entry, dict)
        and type(entry.get("bytes")) is int
        and isinstance(entry.get("sha256"), str)
        for entry in files.values()
    )
    if not whole or not files:
        raise InputError(f"{path}: not a checkpoint's manifest: the checkpoint is damaged")
    return files
