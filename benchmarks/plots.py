"""The plots of the pages: lines over a logarithmic axis, and bars. PNG, drawn with PIL."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 360, 70, 190, 44, 44
INK, PALE = (40, 40, 40), (215, 215, 215)
COLOURS = ((42, 100, 170), (205, 105, 40), (60, 140, 80), (150, 80, 150))


def write_lines(
    path: Path,
    lines: Mapping[str, Mapping[float, Sequence[float]]],
    *,
    title: str,
    across: str,
) -> None:
    """Write lines through the means of repeated values, a point a value.

    Args:
        path: ends in .png.
        lines: name -> {x > 0: values}; the y axis begins at 0, or at the lowest value.
        title: a line above.
        across: what x is.
    """
    image, draw, font = _page(title)
    xs = sorted({x for line in lines.values() for x in line})
    every = [v for line in lines.values() for values in line.values() for v in values]
    low, high = min(0.0, *every), max(every)

    def place(x: float, y: float) -> tuple[float, float]:
        share = math.log(x / xs[0]) / math.log(xs[-1] / xs[0])
        return (
            LEFT + share * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - (y - low) / (high - low) * (HEIGHT - TOP - BOTTOM),
        )

    for tick in _ticks(low, high):
        _, y = place(xs[0], tick)
        draw.line((LEFT, y, WIDTH - RIGHT, y), PALE)
        draw.text((8, y - 8), f"{tick:g}", INK, font)
    for x in xs:
        draw.text((place(x, low)[0] - 8, HEIGHT - BOTTOM + 8), f"{x:g}", INK, font)
    draw.text((LEFT, HEIGHT - 20), across, INK, font)
    for number, (name, line) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        means = [place(x, sum(line[x]) / len(line[x])) for x in sorted(line)]
        draw.line(means, colour, 2)
        for x, values in line.items():
            for value in values:
                cx, cy = place(x, value)
                draw.ellipse((cx - 2, cy - 2, cx + 2, cy + 2), colour)
        draw.text((WIDTH - RIGHT + 12, TOP + 22 * number), name, colour, font)
    image.save(path, format="PNG")


def write_bars(path: Path, bars: Mapping[str, float], *, title: str) -> None:
    """Write a bar a name, from 0, with its value."""
    image, draw, font = _page(title)
    row = (HEIGHT - TOP - 10) / len(bars)
    scale = (WIDTH - 2 * RIGHT) / max(bars.values())
    for number, (name, value) in enumerate(bars.items()):
        y = TOP + number * row
        draw.text((10, y + row / 2 - 8), name, INK, font)
        box = (RIGHT, y + 4, RIGHT + max(value * scale, 1), y + row - 4)
        draw.rectangle(box, COLOURS[0] if number else (150, 150, 150))
        draw.text((box[2] + 8, y + row / 2 - 8), f"{value:.0f}", INK, font)
    image.save(path, format="PNG")


def _page(title: str) -> tuple[Image.Image, ImageDraw.ImageDraw, ImageFont.ImageFont]:
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=13)
    draw.text((10, 10), title, INK, font)
    return image, draw, font


def _ticks(low: float, high: float) -> list[float]:
    step = 10 ** math.floor(math.log10(high - low))
    step = next(s for s in (step / 5, step / 2, step, 2 * step) if (high - low) / s <= 7)
    return [n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1)]
