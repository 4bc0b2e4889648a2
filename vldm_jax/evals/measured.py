"""A figure as an evaluation writes it down: JSON values, and what a person should know of them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from vldm_jax.evals.figures import Figure
from vldm_jax.evals.interval import Videos
from vldm_jax.evals.of_rows import Rows
from vldm_jax.evals.value import evaluate


def measured(
    figure: Figure,
    rows: Mapping[str, Rows],
    settings: Mapping[str, Any],
    videos: Mapping[str, Videos],
    seed: int,
) -> tuple[dict[str, Any], list[str]]:
    """Return a figure as JSON values, and lines on it.

    Args:
        figure: what to measure.
        rows: "samples", "real", "others" -> numbers of the clips of a set, where there is one.
        settings: what it is called with.
        videos: set -> of which video each of its clips is, where that is known.
        seed: of the intervals.

    Raises:
        InputError: if it cannot be taken of these clips.
    """
    value = evaluate(
        figure, rows["samples"], rows.get("real"), rows.get("others"), settings=settings,
        videos=videos, seed=seed,
    )  # fmt: skip
    lines = [figure.remark(rows["samples"], **settings)] if figure.remark else []
    for what, count in (("interval", value.undefined), ("floor's interval", value.floor_undefined)):
        line = f"{count} of {figure.draws} draws for its {what} do not have it: left out"
        lines += [line] * bool(count)
    told = {**dataclasses.asdict(value), "unit": figure.unit, "says": figure.says}
    return told, [line for line in lines if line]
