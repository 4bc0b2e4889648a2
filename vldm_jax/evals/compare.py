"""Samples against real clips: every figure asked for, from sets of clips to a table of values."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.evals.clips import ClipSet, digest_of_set
from vldm_jax.evals.extract import Extracted, Extractor, extract
from vldm_jax.evals.extractors import make_extractor
from vldm_jax.evals.figures import FIGURES, evaluate
from vldm_jax.evals.labels import label_column, with_label
from vldm_jax.typing import Float


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Comparison:
    """What a comparison found.

    Attributes:
        figures: name -> JSON values: value, interval, floor, floor_interval, unit, made_by.
        real_sha256: of the real clips, the floor's among them.
        samples_sha256: of the samples.
        numbers: extractor -> (the samples' numbers, the real clips').
        recalled: clips whose numbers were there already, over all extractors.
    """

    figures: dict[str, dict[str, Any]]
    real_sha256: str
    samples_sha256: str
    numbers: Mapping[str, tuple[np.ndarray, np.ndarray]]
    recalled: int


def check_figures(names: Sequence[str]) -> None:
    """Raise unless every name is one of a figure.

    Raises:
        InputError: naming the first that is not, or that none is given.
    """
    if not names:
        raise InputError(f"no figure is asked for; there are {', '.join(FIGURES)}")
    for name in names:
        if name not in FIGURES:
            raise InputError(f"unknown figure {name!r}; there are {', '.join(FIGURES)}")


def check_length(names: Sequence[str], frames: int) -> None:
    """Raise for a figure that takes longer clips than these; to be asked before they are made.

    Raises:
        InputError: naming it.
    """
    for name in names:
        if frames < FIGURES[name].frames:
            raise InputError(
                f"{name} takes clips of at least {FIGURES[name].frames} frames, these have "
                f"{frames}: leave it out with --figures, or take longer clips"
            )


def labels_of(
    names: Sequence[str], sets: Mapping[str, ClipSet]
) -> dict[str, dict[str, Float[np.ndarray, " n"]]]:
    """Return {figure: {set: the label of each clip}} of figures that need one.

    To be asked of the real clips before samples are made.

    Args:
        names: of the figures.
        sets: clips by what they are.

    Raises:
        InputError: if a set lacks a label that a figure needs.
    """
    return {
        name: {
            what: label_column(
                clips.labels, FIGURES[name].label, clips.count, figure=name, what=what
            )
            for what, clips in sets.items()
        }
        for name in names
        if FIGURES[name].label
    }


def make_extractors(names: Sequence[str], weights: Mapping[str, Path]) -> dict[str, Extractor]:
    """Return what the figures are made of, by name; to be asked before anything slow.

    Args:
        names: of the figures.
        weights: extractor -> file of its weights, where no package has them.

    Raises:
        InputError: for an unknown figure, or weights that cannot be had.
    """
    check_figures(names)
    wanted = sorted({FIGURES[name].extractor for name in names})
    return {name: make_extractor(name, weights.get(name)) for name in wanted}


def compare(
    samples: ClipSet,
    real: ClipSet,
    others: ClipSet,
    names: Sequence[str],
    *,
    extractors: Mapping[str, Extractor],
    cache: Path | None,
    seed: int,
) -> Comparison:
    """Return the figures of samples against real clips.

    Args:
        samples: what is judged.
        real: what it is compared with.
        others: as many other real clips, for the floors.
        names: of the figures.
        extractors: what `make_extractors` made for these figures.
        cache: folder that keeps the numbers of clips; None for none.
        seed: of the intervals.

    Raises:
        InputError: for too few clips, unequal shapes, or a figure without its labels.
    """
    _check_sets(samples, real, others, names)
    sets = {"samples": samples, "real clips": real, "other real clips": others}
    labels = labels_of(names, sets)
    found: dict[str, dict[str, Extracted]] = {}
    figures: dict[str, dict[str, Any]] = {}
    for name, extractor in extractors.items():
        found[name] = {
            what: extract(extractor, clips, cache=cache, what=what) for what, clips in sets.items()
        }
    for name in names:
        figure = FIGURES[name]
        rows = [
            with_label(one.rows, labels[name][what]) if figure.label else one.rows
            for what, one in found[figure.extractor].items()
        ]
        value = dataclasses.asdict(evaluate(figure, *rows, seed=seed))
        made_by = {"extractor": figure.extractor, **extractors[figure.extractor].recipe}
        figures[name] = {**value, "unit": figure.unit, "says": figure.says, "made_by": made_by}
    first = next(iter(found.values()))
    digests = {what: one.digests for what, one in first.items()}
    return Comparison(
        figures=figures,
        real_sha256=digest_of_set([*digests["real clips"], *digests["other real clips"]]),
        samples_sha256=digest_of_set(digests["samples"]),
        numbers={
            name: (sets["samples"].rows, sets["real clips"].rows) for name, sets in found.items()
        },
        recalled=sum(one.recalled for sets in found.values() for one in sets.values()),
    )


def _check_sets(samples: ClipSet, real: ClipSet, others: ClipSet, names: Sequence[str]) -> None:
    for clips in (real, others):
        if (clips.shape, clips.fps) != (samples.shape, samples.fps):
            raise InputError(
                f"samples are {samples.shape} (frames, rows, columns) at {samples.fps:g} fps, real "
                f"clips {clips.shape} at {clips.fps:g} fps: compare clips of one kind"
            )
    check_length(names, samples.shape[0])
    fewest = max(FIGURES[name].fewest for name in names)
    if (count := min(samples.count, real.count, others.count)) < fewest:
        raise InputError(
            f"{count} clips are too few for {', '.join(names)}, which take {fewest}: give more"
        )
