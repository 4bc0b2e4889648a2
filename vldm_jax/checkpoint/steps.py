"""The checkpoints in a folder, by step: which there are, and which are whole.

A checkpoint gets its name when it is whole, so one that is not was damaged later. Those of older
versions have no manifest: of them only the descriptions can be checked.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

from vldm_jax.checkpoint.manifest import MANIFEST, find_change
from vldm_jax.core.errors import InputError
from vldm_jax.core.json_files import read_json

ITEMS = ("state", "loader", "config", "meta")


def all_steps(folder: str | os.PathLike[str]) -> list[int]:
    """Return the steps that have a folder of their name, ascending."""
    folder = Path(folder)
    if not folder.is_dir():
        return []
    names = [path.name for path in folder.iterdir() if path.is_dir()]
    return sorted(int(name) for name in names if name.isascii() and name.isdecimal())


def complete_steps(folder: str | os.PathLike[str]) -> list[int]:
    """Return the steps of the checkpoints that look complete, ascending."""
    return [step for step in all_steps(folder) if is_complete(Path(folder) / str(step))]


def is_complete(checkpoint: Path) -> bool:
    """Return whether a folder is a checkpoint, complete when it got its name."""
    return (checkpoint / MANIFEST).is_file() or (
        (checkpoint / "_CHECKPOINT_METADATA").is_file()
        and all((checkpoint / item).is_dir() for item in ITEMS)
    )


def find_damage(checkpoint: Path) -> str | None:
    """Return what is wrong with a checkpoint, or None; reads all of it."""
    if (checkpoint / MANIFEST).exists():
        return find_change(checkpoint)
    if missing := [item for item in ITEMS if not (checkpoint / item).is_dir()]:
        return f"{missing[0]} is missing"
    try:
        meta = read_description(checkpoint)
        read_json_item(checkpoint, "config")
    except InputError as error:
        return str(error)
    return f"{MANIFEST} is missing" if "interval" in meta else None


def check_whole(checkpoint: Path) -> None:
    """Raise if a checkpoint is damaged; reads all of it.

    Raises:
        InputError: saying what is wrong with it.
    """
    if damage := find_damage(checkpoint):
        raise InputError(
            f"{checkpoint} is damaged: {damage}; use another one of {checkpoint.parent}"
        )


def read_json_item(checkpoint: Path, item: str) -> dict[str, Any]:
    """Return the JSON item "config" or "meta" of a checkpoint folder.

    Raises:
        InputError: if it is missing or not JSON.
    """
    what = f"the {item} of a checkpoint"
    return read_json(checkpoint / item / "metadata", what, remedy="the checkpoint is damaged")


def newest_config(folder: str | os.PathLike[str]) -> tuple[Path, dict[str, Any]] | None:
    """Return the newest checkpoint in a folder whose config is as it was written, and the config.

    None if there is no checkpoint with one.

    Raises:
        InputError: if the config of one without checksums is missing or not JSON.
    """
    for step in reversed(complete_steps(folder)):
        checkpoint = Path(folder) / str(step)
        if not (checkpoint / MANIFEST).exists() or not find_change(checkpoint, "config/"):
            return checkpoint, read_json_item(checkpoint, "config")
    return None


def read_description(checkpoint: Path) -> dict[str, Any]:
    """Return the item "meta" of a checkpoint folder.

    Raises:
        InputError: if it is missing, not JSON, or not such a description.
    """
    meta = read_json_item(checkpoint, "meta")
    backbones = meta.get("backbones")
    if not isinstance(meta.get("version"), str) or not isinstance(backbones, dict):
        raise InputError(
            f"{checkpoint / 'meta'}: lacks 'version' or 'backbones': the checkpoint is damaged"
        )
    return meta


def set_damaged_aside(folder: Path) -> str | None:
    """Rename damaged checkpoints, saying so, unless none is whole; then return that problem.

    Only the last whole one and those after it are read.
    """
    steps = all_steps(folder)
    damages: dict[int, str] = {}
    for step in reversed(steps):
        checkpoint = folder / str(step)
        if damage := find_damage(checkpoint):
            damages[step] = damage
            continue
        if not (checkpoint / MANIFEST).exists():
            _say(f"{checkpoint} is of an older version, without checksums: taken as it is")
        earlier = [s for s in steps if s < step and not is_complete(folder / str(s))]
        damages |= {s: "it is not complete" for s in earlier}
        break
    else:
        if damages:
            reasons = "; ".join(f"{step}: {damage}" for step, damage in damages.items())
            return (
                f"{folder} holds no whole checkpoint ({reasons}): move the folder away to start "
                "again, or choose another --workdir"
            )
    for step, damage in damages.items():
        aside = folder / f"damaged_{step}_{time.time_ns()}"
        (folder / str(step)).rename(aside)
        _say(f"{folder / str(step)} is damaged ({damage}): set aside as {aside.name}")
    return None


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
