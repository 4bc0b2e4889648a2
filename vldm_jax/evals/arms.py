"""A table of arms: figures of several trainings of each, with means, intervals and orderings.

table.json    every value, a seed each; means and orderings
table.md      the same to read
table.png     a point a seed, a bar the mean, a line the floor
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from vldm_jax.core.files import atomic_path, write_json
from vldm_jax.evals.report import heading, made_otherwise, number
from vldm_jax.evals.seeds import Mean, Ordering, mean_of_seeds, ordering

Found = Mapping[str, Mapping[int, Mapping[str, Any]]]
WIDTH, ROW, LEFT, RIGHT, TOP = 860, 44, 170, 150, 58
INK, PALE, BAR, POINT = (40, 40, 40), (150, 150, 150), (170, 195, 225), (42, 100, 170)


def write_table(
    out: Path,
    found: Found,
    *,
    says: str,
    figure: str,
    first: str,
    published: Mapping[str, float],
    notes: Sequence[str] = (),
) -> None:
    """Write what is known of a table so far; nothing, before anything is.

    Args:
        out: folder.
        found: arm -> seed -> content of a `metrics.json` of `vldm evaluate`.
        says: what the table is, a line.
        figure: that orders the arms, lower is better.
        first: arm that is expected before all others.
        published: arm -> the paper's value of the figure.
        notes: what else a person should know, a line each.
    """
    if not (arms := {arm: seeds for arm, seeds in found.items() if seeds}):
        return
    means = {arm: _means(seeds) for arm, seeds in arms.items()}
    orderings = _orderings(arms, figure, first)
    told = [*_apart(arms), *notes]
    rows = [_row(arm, means[arm], arms[arm], published[arm], figure) for arm in arms]
    heads = ["arm", f"paper's {figure}", *map(heading, _figures(arms)), "seeds"]
    lines = [
        f"{says}. Means over seeds with their 95 % interval (Student's t).",
        "",
        _line(heads),
        "|---" * len(heads) + "|",
        *map(_line, rows),
        "",
        *(_says(first, arm, found) for arm, found in orderings.items()),
        *told,
    ]
    write_json(
        out / "table.json",
        {
            "says": says,
            "values": {arm: _values(seeds) for arm, seeds in arms.items()},
            "means": {
                arm: {name: dataclasses.asdict(mean) for name, mean in row.items()}
                for arm, row in means.items()
            },
            "floors": _floors(arms),
            "orderings": {arm: dataclasses.asdict(one) for arm, one in orderings.items()},
            "notes": told,
        },
    )
    with atomic_path(out / "table.md") as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    _draw(out / "table.png", arms, {arm: row[figure] for arm, row in means.items()}, figure, says)


def _figures(arms: Found) -> list[str]:
    return list(dict.fromkeys(n for seeds in arms.values() for m in seeds.values()
                              for n in m["figures"]))  # fmt: skip


def _values(seeds: Mapping[int, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    return {
        name: {str(seed): metrics["figures"][name]["value"] for seed, metrics in seeds.items()}
        for name in _figures({"": seeds})
    }


def _means(seeds: Mapping[int, Mapping[str, Any]]) -> dict[str, Mean]:
    return {name: mean_of_seeds(list(row.values())) for name, row in _values(seeds).items()}


def _floors(arms: Found) -> dict[str, float]:
    """Return the floors; they are of real clips alone, so all arms have the same."""
    metrics = next(m for seeds in arms.values() for m in seeds.values())
    return {name: found["floor"] for name, found in metrics["figures"].items()}


def _orderings(arms: Found, figure: str, first: str) -> dict[str, Ordering]:
    """Return how the first arm and each other one stand, by the seeds that both have."""
    found = {}
    for arm in arms:
        shared = sorted(arms[first].keys() & arms[arm].keys()) if first in arms else []
        if arm != first and shared:
            one, two = ([arms[name][seed]["figures"][figure]["value"] for seed in shared]
                        for name in (first, arm))  # fmt: skip
            found[arm] = ordering(one, two)
    return found


def _apart(arms: Found) -> list[str]:
    """Return a line for each evaluation that was not made as the first."""
    everything = [(f"{arm}, seed {seed}", m) for arm, s in arms.items() for seed, m in s.items()]
    (_, first), *others = everything
    apart = {name: made_otherwise(first, metrics) for name, metrics in others}
    return [f"{name} was judged otherwise: {'; '.join(lines)}" for name, lines in apart.items()
            if lines]  # fmt: skip


def _row(
    arm: str,
    means: Mapping[str, Mean],
    seeds: Mapping[int, Mapping[str, Any]],
    published: float,
    figure: str,
) -> list[str]:
    floors = _floors({arm: seeds})
    cells = []
    for name, mean in means.items():
        cells.append(f"{number(mean.value)} ({_spread(mean, '; ')}floor {number(floors[name])})")
    return [arm, number(published), *cells, str(len(seeds))]


def _says(first: str, arm: str, found: Ordering) -> str:
    spread = _spread(found.difference)
    return (
        f"- {first} before {arm}: {found.verdict}, in {found.pairs} of {found.seeds} seeds; "
        f"{number(found.difference.value)} apart{f' ({spread})' if spread else ''}"
    )


def _spread(mean: Mean, end: str = "") -> str:
    """Return the interval of a mean in words; "" if it has none."""
    return "" if mean.interval is None else f"{' to '.join(map(number, mean.interval))}{end}"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _draw(path: Path, arms: Found, means: Mapping[str, Mean], figure: str, title: str) -> None:
    font = ImageFont.load_default(size=13)
    image = Image.new("RGB", (WIDTH, TOP + ROW * len(arms) + 16), "white")
    draw = ImageDraw.Draw(image)
    floor = _floors(arms)[figure]
    values = {arm: [m["figures"][figure]["value"] for m in s.values()] for arm, s in arms.items()}
    most = max([floor, *(v for row in values.values() for v in row)])
    scale = (WIDTH - LEFT - RIGHT) / (most or 1.0)
    draw.text((10, 8), title, INK, font)
    draw.text((10, 28), f"{figure}: a point a seed, a bar the mean, a line the floor", PALE, font)
    for row, (arm, points) in enumerate(values.items()):
        top = TOP + row * ROW
        draw.text((10, top + 10), arm, INK, font)
        draw.rectangle((LEFT, top + 6, LEFT + means[arm].value * scale, top + 30), BAR)
        for value in points:
            x = LEFT + value * scale
            draw.ellipse((x - 4, top + 14, x + 4, top + 22), POINT)
        draw.text((WIDTH - RIGHT + 12, top + 10), number(means[arm].value), INK, font)
    x = LEFT + floor * scale
    draw.line((x, TOP, x, TOP + ROW * len(arms)), INK, 2)
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")
