"""Weights that a user gives to what figures are made of, or must not give."""

from pathlib import Path

from vldm_jax.core.errors import InputError

FOLDERS = {"clip": "of openai/clip-vit-base-patch32: weights, vocab.json and merges.txt"}
EITHER = ("detector",)  # a weights file of a stage, or the run that wrote it


def check_kind(name: str, path: Path) -> None:
    """Raise for a file where a network takes a folder, and for a folder where it takes a file.

    Args:
        name: of the network.
        path: what is given for it; what is not there is said by who reads it.

    Raises:
        InputError: naming both, and what to give.
    """
    if name in FOLDERS and path.is_file():
        raise InputError(
            f"--network {name}={path} is a file; {name} takes the folder {FOLDERS[name]}"
        )
    if name not in FOLDERS and name not in EITHER and path.is_dir():
        raise InputError(f"--network {name}={path} is a folder; {name} takes a file of weights")


def needed(weights: Path | None, name: str, what: str) -> Path:
    """Return the path of weights that no package has.

    Raises:
        InputError: if none is given, naming what to get.
    """
    if weights is None:
        raise InputError(
            f"no package has the weights of {name}: get {what} and give it to vldm evaluate, "
            f"--network {name}={'FOLDER' if name in FOLDERS else 'FILE'}, or leave its figures out"
        )
    return weights


def refused(weights: Path | None, name: str) -> None:
    """Raise if weights are given to something that has none.

    Raises:
        InputError: naming both.
    """
    if weights is not None:
        raise InputError(f"{name} has no weights, got {weights}: leave that out")
