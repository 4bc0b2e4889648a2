"""Names of what is compared, short enough for the head of a column: "A: night", "B: night/best"."""

from collections.abc import Sequence
from pathlib import PurePath
from string import ascii_uppercase

from vldm_jax.checkpoint.weights import WEIGHTS
from vldm_jax.core.assets import SCHEME
from vldm_jax.core.errors import InputError
from vldm_jax.evals.best import FOLDER as BEST


def names_of(runs: Sequence[str]) -> list[str]:
    """Return a letter and the end of its path for each: as much as tells it from the others.

    Args:
        runs: workdirs and weights files.

    Raises:
        InputError: for more than there are letters.
    """
    if len(runs) > len(ascii_uppercase):
        raise InputError(f"{len(runs)} runs are too many to look at: give at most 26")
    parts = [_parts(run) for run in runs]
    longest = max(map(len, parts))
    for depth in range(1, longest + 1):
        ends = ["/".join(part[-depth:]) for part in parts]
        if len(set(ends)) == len(set(runs)):
            break
    return [f"{letter}: {end}" for letter, end in zip(ascii_uppercase, ends, strict=False)]


def _parts(run: str) -> tuple[str, ...]:
    """Return the words of a path; a folder of best weights has no name without its run's."""
    path = PurePath(run.removeprefix(SCHEME))
    if path.name == WEIGHTS and path.parent.name:
        path = path.parent
    *above, last = path.parts or (run,)
    if last == BEST and above:
        return (*above[:-1], f"{above[-1]}/{last}")
    return (*above, PurePath(last).stem if last.endswith(".safetensors") else last)
