"""A picture of figures: a bar for the samples and one for the floor, each with its interval.

Every figure has a row with an axis of its own, in its own unit: no two are on one scale. Bars begin
at 0. A dashed line carries the floor across the row, to be held against the samples' bar.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, ImageDraw, ImageFont

from vldm_jax.core.files import atomic_path
from vldm_jax.evals.figures import FIGURES
from vldm_jax.evals.report import number

WIDTH, ROW, LEFT, RIGHT, TOP = 900, 116, 190, 190, 38
BAR, THICK, AXIS = 26, 18, 66  # from bar to bar, a bar's height, from a row's top to its axis
INK, PALE, GRID = (40, 40, 40), (120, 120, 120), (228, 228, 228)
COLOURS = {"samples": (42, 100, 170), "floor": (170, 170, 170)}
FLOOR = (190, 60, 40)
WORDS = {
    "lower": "lower is better",
    "higher": "higher is better",
    "floor": "nearer to the floor is better",
}
TICKS = 6  # of an axis, at most
LEGEND = "bars begin at 0; black: 95 % interval; dashed: the floor, what real clips have"


class Scale(NamedTuple):
    """An axis: what is at its ends, and the ticks from one to the other."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def x(self, value: int | float) -> float:
        """Return the column of a value."""
        return LEFT + (value - self.low) / (self.high - self.low) * (WIDTH - LEFT - RIGHT)


def scale_of(numbers: list[float]) -> Scale:
    """Return an axis with round ticks on which 0 and all of these are."""
    low, high = min(0.0, *numbers), max(0.0, *numbers)
    if low == high:
        high = 1.0
    rough = (high - low) / (TICKS - 2)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(i * step for i in range(first, last + 1))
    return Scale(ticks[0], ticks[-1], ticks)


def write_bars(path: Path, figures: Mapping[str, Mapping[str, Any]], title: str) -> None:
    """Write a PNG of the figures of one evaluation, a row each, every row on its own scale.

    Args:
        path: ends in .png.
        figures: name -> value, interval, floor, floor_interval; the last two None without a floor.
        title: a line above.
    """
    font = ImageFont.load_default(size=13)
    image = Image.new("RGB", (WIDTH, TOP + ROW * len(figures) + 26), "white")
    draw = ImageDraw.Draw(image)
    draw.text((10, 10), title, INK, ImageFont.load_default(size=15))
    for row, (name, found) in enumerate(figures.items()):
        top = TOP + row * ROW
        draw.line((10, top, WIDTH - 10, top), GRID)
        draw.text((10, top + 12), name, INK, ImageFont.load_default(size=15))
        if name in FIGURES:
            draw.text((10, top + 36), WORDS[FIGURES[name].better], PALE, ImageFont.load_default(11))
        _row(draw, font, top, found, FIGURES[name].unit if name in FIGURES else "")
    draw.text((10, TOP + ROW * len(figures) + 6), LEGEND, PALE, ImageFont.load_default(size=11))
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")


def _row(
    draw: ImageDraw.ImageDraw, font: Any, top: int, found: Mapping[str, Any], unit: str
) -> None:
    """Draw axis, bars and floor of one figure."""
    bars = {"samples": (found["value"], found["interval"])}
    if found["floor"] is not None:
        bars["floor"] = (found["floor"], found["floor_interval"])
    numbers = [n for value, ends in bars.values() for n in (value, *ends) if type(n) is not str]
    if numbers:
        scale = scale_of([float(n) for n in numbers])
        _axis(draw, top, scale, unit)
    for place, (kind, (value, ends)) in enumerate(bars.items()):
        y = top + 8 + BAR * place
        draw.text((WIDTH - RIGHT + 14, y), f"{kind} {number(value)}", INK, font)
        if type(value) is str:  # no number, "equal"
            continue
        x, zero = scale.x(value), scale.x(0.0)
        draw.rectangle((min(x, zero), y, max(x, zero, zero + 1), y + THICK), COLOURS[kind])
        low, high = (scale.x(end) for end in ends)
        middle = y + THICK // 2
        draw.line((low, middle, high, middle), INK, 2)
        for end in (low, high):
            draw.line((end, middle - 5, end, middle + 5), INK, 2)
    if found["floor"] is None:
        draw.text((LEFT, top + 10 + BAR), "no floor", PALE, font)
    else:
        x = scale.x(found["floor"])
        for y in range(top + 4, top + AXIS, 7):
            draw.line((x, y, x, y + 3), FLOOR, 2)


def _axis(draw: ImageDraw.ImageDraw, top: int, scale: Scale, unit: str) -> None:
    small, y = ImageFont.load_default(size=11), top + AXIS
    for tick in scale.ticks:
        x = scale.x(tick)
        draw.line((x, top + 4, x, y), GRID)
        draw.line((x, y, x, y + 4), INK)
        draw.text((x, y + 6), number(tick), INK, small, anchor="ma")
    draw.line((LEFT, y, WIDTH - RIGHT, y), INK)
    draw.text((WIDTH - RIGHT + 14, y - 6), unit, PALE, small)
