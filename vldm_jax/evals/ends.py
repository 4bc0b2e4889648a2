"""Both ends of the samples as a picture: the best and the worst, what each is and why it is there.

Below a sample stands what it is held against: its original, or the real clip that is nearest to it
by the numbers of the figure. So a person sees whether a sample is bad, or the real set has nothing
like it.
"""

import dataclasses
import math
from pathlib import Path

import numpy as np

from vldm_jax.data.labels import describe_labels
from vldm_jax.data.write import write_contact_sheet
from vldm_jax.evals.clips import ClipSet
from vldm_jax.evals.companions import CAPTION, REFERENCE
from vldm_jax.evals.compare import Comparison
from vldm_jax.evals.figures import FIGURES
from vldm_jax.evals.likeness import NEAREST, by_likeness, by_value
from vldm_jax.evals.report import number
from vldm_jax.evals.sets import Sets
from vldm_jax.typing import Float, Int, UInt8

SHOWN = 4  # clips at each end
WIDE = 128  # columns of pixels that a small frame is about enlarged to


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Ordered:
    """The samples from the best to the worst.

    Attributes:
        samples: the clips.
        order: their numbers, best first.
        values: by which, of each clip.
        unit: of the values; "" for none.
        best: what the best are, for a heading.
        worst: what the worst are.
        real: real clips, of which
        nearest: has the number of the nearest one to each sample; None if there are none.
    """

    samples: ClipSet
    order: Int[np.ndarray, " n"]
    values: Float[np.ndarray, " n"]
    unit: str
    best: str
    worst: str
    real: ClipSet | None = None
    nearest: Int[np.ndarray, " n"] | None = None


def write_ends(path: Path, sets: Sets, result: Comparison) -> None:
    """Write a PNG of the best and the worst samples.

    Args:
        path: ends in .png.
        sets: what was compared.
        result: what was found.
    """
    ordered = _ordered(sets, result)
    count = ordered.samples.count
    best = ordered.order[: min(SHOWN, -(-count // 2))]
    worst = ordered.order[count - min(SHOWN, count // 2) :][::-1]
    rows: list[UInt8[np.ndarray, "t h w 3"]] = []
    labels: list[str] = []
    headings = {}
    for numbers, heading in ((best, ordered.best), (worst, ordered.worst)):
        headings[len(rows)] = heading
        for place, i in enumerate(map(int, numbers), 1):
            rows.append(ordered.samples.read(i))
            labels.append(f"{place}. {_described(ordered.samples, i)}: {_value(ordered, i)}")
            for clip, text in _beside(ordered, i):
                rows.append(clip)
                labels.append(f"    {text}")
    scale = max(1, WIDE // ordered.samples.shape[2])
    write_contact_sheet(path, rows, labels, headings=headings, scale=scale)


def _ordered(sets: Sets, result: Comparison) -> Ordered:
    """Return the samples by their likeness to real clips, or by the first figure."""
    against = [name for name, (_, real) in result.numbers.items() if real is not None]
    if against:
        name = "i3d" if "i3d" in against else against[0]
        rows, real = (one.reshape(len(one), -1) for one in result.numbers[name])
        order, values, nearest = by_likeness(rows, real)
        of = f"by the mean distance to the {min(NEAREST, len(real))} nearest, in numbers of {name}"
        return Ordered(
            samples=sets.samples, order=order, values=values, unit="from real clips",
            best=f"BEST: most like real clips, {of}", worst=f"WORST: least like real clips, {of}",
            real=sets.real, nearest=nearest,
        )  # fmt: skip
    name = next(iter(result.figures))
    figure = FIGURES[name]
    order, values = by_value(figure, result.numbers[figure.extractor][0], result.settings)
    ends = {"higher": ("highest", "lowest")}
    high, low = ends[figure.better] if figure.better in ends else ("lowest", "highest")
    return Ordered(
        samples=sets.compared[figure.beside].samples, order=order, values=values, unit=figure.unit,
        best=f"BEST: {high} {name}, {figure.says}", worst=f"WORST: {low} {name}, {figure.says}",
    )  # fmt: skip


def _value(ordered: Ordered, i: int) -> str:
    value = float(ordered.values[i])
    if math.isnan(value):
        return "no value of its own"
    return number(value) if math.isinf(value) else f"{number(value)} {ordered.unit}".strip()


def _beside(ordered: Ordered, i: int) -> list[tuple[UInt8[np.ndarray, "t h w 3"], str]]:
    """Return what stands below a sample, with what it is."""
    samples = ordered.samples
    if REFERENCE in samples.beside:
        return [(samples.beside[REFERENCE](i), "its original")]
    if ordered.real is None or ordered.nearest is None:
        return []
    near = int(ordered.nearest[i])
    return [(ordered.real.read(near), f"nearest real clip: {_described(ordered.real, near)}")]


def _described(clips: ClipSet, i: int) -> str:
    """Return what a clip is called, with its labels or its caption."""
    text = clips.describe(i)
    if CAPTION in clips.beside:
        text += f"  {clips.beside[CAPTION](i)}"
    labels = clips.labels
    return text + ("" if labels is None else describe_labels(labels.names, labels.of(i)))
