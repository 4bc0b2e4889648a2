"""Numbers of clips that are kept from one evaluation to the next, a file each.

    $XDG_CACHE_HOME/vldm_jax/features/<extractor>-<recipe>/<clip>.npy

`VLDM_FEATURE_CACHE` names another folder, or is "off". A file is named by the SHA-256 of what it is
about (`clips.digest`), so that nobody has to say when it is out of date.
"""

import contextlib
from pathlib import Path

import numpy as np

from vldm_jax.core.arrays import save_array
from vldm_jax.core.caches import kept_folder
from vldm_jax.core.files import atomic_path
from vldm_jax.typing import Float

VARIABLE = "VLDM_FEATURE_CACHE"


def cache_folder() -> Path | None:
    """Return where numbers of clips are kept, as the module says; None for nowhere."""
    return kept_folder(VARIABLE, "features")


def recall(cache: Path | None, folder: str, clip: str) -> Float[np.ndarray, "rows d"] | None:
    """Return what is kept of a clip; None if nothing is, or nothing whole."""
    if cache is None:
        return None
    try:
        values = np.load(_file(cache, folder, clip), allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return values if values.ndim == 2 and np.isfinite(values).all() else None


def keep(cache: Path | None, folder: str, clip: str, values: Float[np.ndarray, "rows d"]) -> None:
    """Keep the numbers of a clip; where there is no room for them, they are computed again."""
    if cache is not None:
        with contextlib.suppress(OSError), atomic_path(_file(cache, folder, clip)) as temporary:
            save_array(temporary, values)


def _file(cache: Path, folder: str, clip: str) -> Path:
    return cache / folder / f"{clip}.npy"
