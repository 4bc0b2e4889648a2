"""Weights that a user gives to what figures are made of, or must not give."""

from pathlib import Path

from vldm_jax.core.errors import InputError


def needed(weights: Path | None, name: str, what: str) -> Path:
    """Return the path of weights that no package has.

    Raises:
        InputError: if none is given, naming what to get.
    """
    if weights is None:
        raise InputError(
            f"no package has the weights of {name}: get {what} and give it to vldm evaluate, "
            f"--network {name}=FILE, or leave its figures out"
        )
    return weights


def refused(weights: Path | None, name: str) -> None:
    """Raise if weights are given to something that has none.

    Raises:
        InputError: naming both.
    """
    if weights is not None:
        raise InputError(f"{name} has no weights, got {weights}: leave that out")
