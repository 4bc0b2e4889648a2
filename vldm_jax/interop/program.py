"""Where programs were until they got a room of their own, `vldm_jax.export`."""

from typing import NoReturn


def __getattr__(name: str) -> NoReturn:
    if name.startswith("__"):
        raise AttributeError(name)
    raise ImportError(f"programs have moved: from vldm_jax.export.program import {name}")
