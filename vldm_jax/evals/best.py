"""The weights with the best figure so far, kept beside a run, whatever interrupts it.

    FOLDER/metrics.json   the step, the figure, its value and floor, and the whole evaluation
    FOLDER/...            what the caller writes: the weights of that step

The folder is replaced as a whole, so figures and weights in it belong together. Values are compared
only where recipes are equal, and so is what made the samples (steps, guidance, seed of the noise):
where either has changed, the earlier folder is set aside under another name and a new one begun.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vldm_jax.core.errors import InputError
from vldm_jax.core.files import atomic_path, restore_replaced, write_json
from vldm_jax.core.json_files import read_json
from vldm_jax.evals.figures import FIGURES
from vldm_jax.evals.recipe import COMPARED, differences
from vldm_jax.evals.report import number

FOLDER, METRICS = "best", "metrics.json"
_FIXED = ("sampling", "diffusion", "seed")  # of what made the samples: all but the weights


def distance(name: str, found: Mapping[str, Any]) -> float:
    """Return how bad a figure is, the less the better: as its row in `FIGURES` says.

    Args:
        name: of the figure.
        found: its value and floor.
    """
    value, floor = float(found["value"]), float(found["floor"])
    return {"lower": value, "higher": -value, "floor": abs(value - floor)}[FIGURES[name].better]


class Best:
    """The folder of the best weights of a run.

    Args:
        folder: where they are kept; made with the first.
        name: of the figure that decides.

    Raises:
        InputError: if the folder holds something else.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        restore_replaced(folder)
        self._kept = _read(folder / METRICS) if folder.exists() else None

    def offer(self, step: int, metrics: Mapping[str, Any], write: Callable[[Path], None]) -> str:
        """Keep these weights if their figure is the best so far; return a line that says so.

        Args:
            step: number of updates done.
            metrics: what `evals.record.record` returned, with the figure among them.
            write: folder -> None; writes the weights into it.
        """
        found = metrics["figures"][self.name]
        if not math.isfinite(distance(self.name, found)):
            return f"{self.name} is no number: nothing is kept"
        said, kept = self._begin_anew(metrics), self._kept
        if kept is not None and distance(self.name, found) >= distance(self.name, kept):
            value = number(float(kept["value"]))
            return f"the best {self.name} is still {value} of step {kept['step']}"
        about = {"value": found["value"], "floor": found["floor"]}
        content = {"step": step, "figure": self.name, **about, **metrics}
        with atomic_path(self.folder) as temporary:
            temporary.mkdir()
            write(temporary)
            write_json(temporary / METRICS, content)
        self._kept = content
        return f"{said}the best {self.name} so far, kept in {self.folder.name}"

    def _begin_anew(self, metrics: Mapping[str, Any]) -> str:
        """Set aside what cannot be compared with these figures; return why."""
        kept = self._kept
        if kept is None or not (apart := _apart(kept, metrics, self.name)):
            return ""
        aside = f"{self.folder.name}_{kept['recipe_id']}_{kept['figure']}_{kept['step']:08}"
        while self.folder.with_name(aside).exists():  # the recipe changed there and back
            aside += "_"
        self.folder.rename(self.folder.with_name(aside))
        self._kept = None
        return (
            f"what {self.folder.name} held was found otherwise ({'; '.join(apart)}) and is now "
            f"{aside}; "
        )


def _apart(kept: Mapping[str, Any], metrics: Mapping[str, Any], name: str) -> list[str]:
    """Return what an earlier evaluation has otherwise, of all that its figure depends on."""
    if kept["figure"] != name:
        return [f"figure: {kept['figure']} and {name}"]

    def basis(of: Mapping[str, Any]) -> dict[str, Any]:
        made = of["recipe"][COMPARED]
        fixed = {key: made[key] for key in _FIXED if key in made}
        return {**of["recipe"], "made_with": fixed, name: of["figures"][name]["made_by"]}

    return differences(basis(kept), basis(metrics))


def _read(path: Path) -> dict[str, Any]:
    kept = read_json(path, "figures of the best weights")
    try:
        distance(kept["figure"], kept)
        _apart(kept, kept, kept["figure"])
        _ = f"{kept['recipe_id']}{kept['step']:08}"
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} does not say what the best weights were found by: move {path.parent} away"
        ) from error
    return kept
