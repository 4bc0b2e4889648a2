"""What an evaluation leaves as JSON: figures, and the recipe that they may be compared by."""

import math
from collections.abc import Mapping
from typing import Any

import vldm_jax
from vldm_jax.evals.compare import Comparison
from vldm_jax.evals.interval import OF_VIDEOS
from vldm_jax.evals.presets import unlike
from vldm_jax.evals.recipe import COMPARED, JUDGED, recipe_id
from vldm_jax.evals.report import EQUAL
from vldm_jax.evals.sets import Sets


def record(
    sets: Sets,
    result: Comparison,
    *,
    seed: int,
    preset: str | None = None,
) -> dict[str, Any]:
    """Return the content of a `metrics.json`.

    Args:
        sets: what was compared.
        result: what was found.
        seed: of all that was drawn.
        preset: name of the protocol, if it is one of `presets`.
    """
    given = {
        "settings": dict(result.settings),
        "beside_sha256": dict(result.beside_sha256),
    }
    recipe = {
        **sets.recipe,
        **{name: value for name, value in given.items() if value},
        "seed": seed,
        "real_sha256": result.real_sha256,
        JUDGED: {**result.judged_by, "interval": OF_VIDEOS},
        COMPARED: {**sets.made_with, "sha256": result.samples_sha256},
    }
    return {
        "version": vldm_jax.__version__,
        "preset": preset,
        "recipe_id": recipe_id(recipe),
        "recipe": recipe,
        "figures": {name: _written(found) for name, found in result.figures.items()},
        "left_out": sets.left_out,
        "notes": [*sets.notes, *result.notes, *(unlike(preset, recipe) if preset else ())],
        "recalled": result.recalled,
    }


def _written(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return a figure as JSON has it, which knows no infinite number: a word for it."""
    if not isinstance(found["value"], float) or not math.isinf(found["value"]):
        return dict(found)
    return {**found, "value": EQUAL, "interval": [EQUAL, EQUAL]}


def scalars(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return {"eval/NAME": value, "eval/NAME_floor": floor} of every figure, for logs.

    A figure without a floor has its value alone.
    """
    return {
        f"eval/{name}{end}": found[key]
        for name, found in metrics["figures"].items()
        for key, end in (("value", ""), ("floor", "_floor"))
        if found[key] is not None
    }
