"""Figures as a person reads them: a Markdown table whose rows say where recipes differ.

| samples | fvd | flicker | clips | recipe |
|---|---|---|---|---|
| mine | 412.3 (390 to 431; floor 96.1) | 0.0121 (...) | 256 | 1f3a... |

A figure for which no real clips can stand in for samples has "no floor".
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from vldm_jax.evals.figures import FIGURES
from vldm_jax.evals.recipe import differences, sampled_otherwise

EQUAL = "equal"
ARROWS = {"lower": "↓", "higher": "↑", "floor": "→ floor"}


def table(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """Return a Markdown table of several evaluations, with what they have otherwise.

    What recipes differ in forbids a comparison; how samples were made is what is compared.

    Args:
        rows: (name, content of a `metrics.json`), the first of which the others are held against.
    """
    names = list(dict.fromkeys(name for _, metrics in rows for name in metrics["figures"]))
    lines = [
        f"| samples | {' | '.join(map(heading, names))} | clips | recipe |",
        "|---" * (len(names) + 3) + "|",
    ]
    notes, sampled = [], []
    for title, metrics in rows:
        found = metrics["figures"]
        cells = [_cell(found[name]) if name in found else "" for name in names]
        apart = made_otherwise(rows[0][1], metrics)
        mark = f" ({len(notes) + 1})" if apart else ""
        notes += [f"({len(notes) + 1}) {title} was made otherwise: {'; '.join(apart)}"] * bool(
            apart
        )
        recipe = metrics["recipe"]
        if other := sampled_otherwise(rows[0][1]["recipe"], recipe):
            sampled.append(f"{title} was sampled otherwise: {'; '.join(other)}")
        words = [title + mark, *cells, str(recipe["clips"]), metrics["recipe_id"]]
        lines.append(f"| {' | '.join(words)} |")
    notes += sampled
    return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"


def heading(name: str) -> str:
    """Return a figure's name with an arrow to where it is better."""
    return f"{name} {ARROWS[FIGURES[name].better]}" if name in FIGURES else name


def number(value: int | float | str) -> str:
    """Return four digits of a number, without an exponent if it has no more than six.

    A figure that is infinite, as the PSNR of equal clips, is "equal": so it stands in JSON, too.
    """
    if isinstance(value, str) or math.isinf(value):
        return EQUAL
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"


def made_otherwise(first: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return what two evaluations have otherwise, of their clips and of each figure of both."""
    lines = differences(first["recipe"], other["recipe"])
    for name in (name for name in first["figures"] if name in other["figures"]):
        one, two = (metrics["figures"][name]["made_by"] for metrics in (first, other))
        lines += [f"{name}.{line}" for line in differences(one, two)]
    return lines


def _cell(found: Mapping[str, Any]) -> str:
    low, high = found["interval"]
    floor = "no floor" if found["floor"] is None else f"floor {number(found['floor'])}"
    if type(found["value"]) is str:
        return f"{found['value']} ({floor})"
    return f"{number(found['value'])} ({number(low)} to {number(high)}; {floor})"
