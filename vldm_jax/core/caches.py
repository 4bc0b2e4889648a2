"""Folders of what is kept from one start to the next, by an environment variable each."""

import os
from pathlib import Path


def kept_folder(variable: str, name: str) -> Path | None:
    """Return the folder that a variable names, $XDG_CACHE_HOME/vldm_jax/NAME if it names none.

    Args:
        variable: of the environment; "off" keeps nothing.
        name: of the usual folder.

    Returns:
        An absolute path, or None for nothing.
    """
    place = os.environ.get(variable) or "default"
    if place == "off":
        return None
    if place == "default":
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        place = Path(home) / "vldm_jax" / name
    return Path(place).absolute()
