"""The value of a figure, its interval, and its floor.

A figure's floor is the same figure with real clips in the place of the samples, as many and others
than those they are compared with: no generator that is right comes below it but by chance. Where
real clips cannot stand in for samples, as in a reconstruction of which they are the original, there
is no floor, and none is made up.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from vldm_jax.evals.figures import Figure
from vldm_jax.evals.interval import Interval, Videos, bootstrap_interval
from vldm_jax.evals.of_rows import Rows


@dataclasses.dataclass(frozen=True, kw_only=True)
class Value:
    """What a figure was found to be.

    Attributes:
        value: of the samples.
        interval: (low, high), where it would lie for other clips, at 95 %.
        floor: of real clips in the place of the samples; None where they cannot stand there.
        floor_interval: the same of the floor.
        clips: samples that it is of.
        undefined: draws of the interval that do not have the figure, and are left out of it.
        floor_undefined: the same of the floor's.
    """

    value: float
    interval: tuple[float, float]
    floor: float | None
    floor_interval: tuple[float, float] | None
    clips: int
    undefined: int
    floor_undefined: int


def evaluate(
    figure: Figure,
    samples: Rows,
    real: Rows | None,
    others: Rows | None,
    *,
    settings: Mapping[str, Any],
    videos: Mapping[str, Videos] | None = None,
    seed: int = 0,
) -> Value:
    """Return a figure of samples, with its floor.

    Args:
        figure: what to measure.
        samples: numbers of the samples.
        real: of the real clips that they are compared with; None if they are not.
        others: of other real clips, for the floor; None for none.
        settings: what `Given.fixed` made, of which the figure takes its own.
        videos: "samples", "real", "others" -> of which video each clip is, where that is known.
        seed: of the intervals.

    Raises:
        InputError: if there are too few clips, or a number is not finite.
    """
    of, known = functools.partial(figure.of, **own_settings(figure, settings)), dict(videos or {})

    def measured(what: str, rows: Rows) -> tuple[float, Interval]:
        names = (what, "real") if figure.against_real else (what,)
        sets = (rows, real) if figure.against_real else (rows,)
        value = of(*sets)
        return value, bootstrap_interval(
            of, sets, value, videos=[known.get(name) for name in names], draws=figure.draws,
            seed=seed, within=figure.within,
        )  # fmt: skip

    value, (low, high, undefined) = measured("samples", samples)
    floor, floor_interval, floor_undefined = None, None, 0
    if others is not None:
        floor, (*floor_interval, floor_undefined) = measured("others", others)
    return Value(
        value=value, interval=(low, high), floor=floor,
        floor_interval=None if floor_interval is None else tuple(floor_interval),
        clips=len(samples), undefined=undefined, floor_undefined=floor_undefined,
    )  # fmt: skip


def own_settings(figure: Figure, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a figure is called with."""
    return {name: settings[name] for name in (*figure.takes, *figure.needs) if name in settings}
