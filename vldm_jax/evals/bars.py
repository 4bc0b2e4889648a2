"""A picture of figures: a bar for the samples and one for the floor, each with its interval."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from vldm_jax.core.files import atomic_path
from vldm_jax.evals.figures import FIGURES
from vldm_jax.evals.report import number

WIDTH, ROW, LEFT, RIGHT, TOP = 860, 74, 170, 150, 34
INK, PALE = (40, 40, 40), (150, 150, 150)
COLOURS = {"samples": (42, 100, 170), "floor": (170, 170, 170)}
WORDS = {"lower": "lower is better", "higher": "higher is better", "floor": "nearer to real"}


def write_bars(path: Path, figures: Mapping[str, Mapping[str, Any]], title: str) -> None:
    """Write a PNG of the figures of one evaluation, a row each, every row on its own scale.

    Args:
        path: ends in .png.
        figures: name -> value, interval, floor, floor_interval; the last two None without a floor.
        title: a line above.
    """
    font = ImageFont.load_default(size=13)
    image = Image.new("RGB", (WIDTH, TOP + ROW * len(figures) + 8), "white")
    draw = ImageDraw.Draw(image)
    draw.text((10, 8), title, INK, font)
    for row, (name, found) in enumerate(figures.items()):
        top = TOP + row * ROW
        draw.text((10, top + 14), name, INK, font)
        if name in FIGURES:
            draw.text((10, top + 34), WORDS[FIGURES[name].better], PALE, font)
        bars = {"samples": ("value", "interval"), "floor": ("floor", "floor_interval")}
        if found["floor"] is None:
            bars.pop("floor")
            draw.text((LEFT, top + 41), "no floor", PALE, font)
        numbers = [n for pair in bars.values() for n in (found[pair[0]], *found[pair[1]])]
        low, high = min(0.0, *numbers), max(0.0, *numbers)
        scale = (WIDTH - LEFT - RIGHT) / ((high - low) or 1.0)
        for place, (kind, (value, interval)) in enumerate(bars.items()):
            y = top + 10 + 28 * place
            ends = sorted((LEFT + (0.0 - low) * scale, LEFT + (found[value] - low) * scale))
            draw.rectangle((ends[0], y, max(ends[1], ends[0] + 1), y + 20), COLOURS[kind])
            x = [LEFT + (end - low) * scale for end in found[interval]]
            draw.line((x[0], y + 10, x[1], y + 10), INK, 2)
            for end in x:
                draw.line((end, y + 5, end, y + 15), INK, 2)
            text = f"{kind} {number(found[value])}"
            draw.text((WIDTH - RIGHT + 12, y + 3), text, INK, font)
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")
