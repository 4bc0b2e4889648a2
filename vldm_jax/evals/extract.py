"""Numbers of each clip, by which sets are compared: computed once a clip, kept by its content.

An extractor turns a clip into rows of numbers: features of a network (one row a clip for I3D, one a
frame for an image classifier), or what a measurement found (flicker, motion). What it found is kept
in a file named by the SHA-256 of the clip and of the recipe that it was computed by, so a second
evaluation costs only the clips that are new, and no figure mixes two recipes.

    $XDG_CACHE_HOME/vldm_jax/features/<extractor>-<recipe>/<clip>.npy

`VLDM_FEATURE_CACHE` names another folder, or is "off".
"""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from vldm_jax.core.caches import kept_folder
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import atomic_path
from vldm_jax.evals.clips import ClipSet, digest
from vldm_jax.typing import Float, UInt8

VARIABLE = "VLDM_FEATURE_CACHE"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Extractor:
    """What makes numbers of clips.

    Attributes:
        name: of the network or measurement.
        compute: clips (b t h w 3) -> numbers (b rows d); called with `batch` clips at a time.
        recipe: all that the numbers depend on beside the clip: weights, size, resize filter.
        batch: clips in one call.
    """

    name: str
    compute: Callable[[UInt8[np.ndarray, "b t h w 3"]], Float[np.ndarray, "b rows d"]]
    recipe: Mapping[str, Any]
    batch: int = 8

    @property
    def folder(self) -> str:
        """Name of the folder of its files."""
        text = json.dumps({"name": self.name, **self.recipe}, sort_keys=True)
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Extracted:
    """The numbers of a set of clips.

    Attributes:
        rows: (n rows d), a clip first.
        digests: of the clips.
        recalled: clips whose numbers were there already.
    """

    rows: Float[np.ndarray, "n rows d"]
    digests: list[str]
    recalled: int


def extract(extractor: Extractor, clips: ClipSet, *, cache: Path | None, what: str) -> Extracted:
    """Return the numbers of every clip; memory holds one batch of clips at a time.

    Args:
        extractor: what makes them.
        clips: the set.
        cache: folder that keeps them; None for none.
        what: the set, for the progress bar.

    Raises:
        InputError: if the numbers of a clip are not finite.
    """
    found: dict[int, Float[np.ndarray, "rows d"]] = {}
    digests: list[str] = []
    waiting: list[tuple[int, np.ndarray]] = []
    new = 0
    with tqdm(total=clips.count, desc=f"{extractor.name} of {what}", unit="clip", disable=None,
              leave=False) as bar:  # fmt: skip
        for number, clip in enumerate(clips):
            digests.append(digest(clip))
            if (known := _recall(cache, extractor, digests[-1])) is not None:
                found[number] = known
            else:
                waiting.append((number, clip))
            if len(waiting) == extractor.batch or (waiting and number == clips.count - 1):
                computed = _compute(extractor, clips, waiting)
                for index, values in computed.items():
                    _keep(cache, extractor, digests[index], values)
                found |= computed
                new += len(computed)
                waiting = []
            bar.update(len(found) - bar.n)
    rows = np.stack([found[number] for number in range(clips.count)])
    return Extracted(rows=rows, digests=digests, recalled=clips.count - new)


def cache_folder() -> Path | None:
    """Return where numbers of clips are kept, as the module says."""
    return kept_folder(VARIABLE, "features")


def _compute(
    extractor: Extractor, clips: ClipSet, waiting: list[tuple[int, np.ndarray]]
) -> dict[int, Float[np.ndarray, "rows d"]]:
    """Return the numbers of at most a batch of clips, by the clips' own."""
    numbers, batch = zip(*waiting, strict=True)
    short = extractor.batch - len(batch)  # filled up, so that one program serves all
    rows = np.asarray(extractor.compute(np.stack([*batch, *batch[:1] * short])), np.float32)
    for number, values in zip(numbers, rows, strict=False):
        if not np.isfinite(values).all():
            raise InputError(
                f"{extractor.name} of {clips.describe(number)} is not a finite number: leave that "
                "clip out"
            )
    return dict(zip(numbers, rows, strict=False))


def _file(cache: Path, extractor: Extractor, clip: str) -> Path:
    return cache / extractor.folder / f"{clip}.npy"


def _recall(cache: Path | None, extractor: Extractor, clip: str) -> np.ndarray | None:
    """Return what is kept of a clip; None if nothing is, or nothing whole."""
    if cache is None:
        return None
    try:
        values = np.load(_file(cache, extractor, clip), allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return values if values.ndim == 2 and np.isfinite(values).all() else None


def _keep(cache: Path | None, extractor: Extractor, clip: str, values: np.ndarray) -> None:
    """Keep the numbers of a clip; where there is no room for them, they are computed again."""
    if cache is not None:
        with contextlib.suppress(OSError), atomic_path(_file(cache, extractor, clip)) as temporary:
            np.save(temporary, values)
