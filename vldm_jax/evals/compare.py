"""Samples against real clips: every figure asked for, from sets of clips to a table of values."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vldm_jax.core.progress import tracked
from vldm_jax.evals.checks import SETS, by_kind, check_figures, check_sets, labels_of, settings_of
from vldm_jax.evals.clips import ClipSet, digest_of_set
from vldm_jax.evals.extract import Extracted, Extractor, extract_all
from vldm_jax.evals.extractors import make_extractor
from vldm_jax.evals.figures import FIGURES
from vldm_jax.evals.given import Given
from vldm_jax.evals.labels import with_label
from vldm_jax.evals.measured import measured
from vldm_jax.evals.sets import Compared
from vldm_jax.evals.value import own_settings

Numbers = dict[str, dict[str, Extracted]]  # of one `Compared`: its set -> extractor -> numbers


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Comparison:
    """What a comparison found.

    Attributes:
        figures: name -> JSON values: value, interval, floor, floor_interval, unit, made_by.
        real_sha256: of the real clips, the floor's among them.
        samples_sha256: of the samples.
        settings: what figures were called with, as JSON values.
        judged_by: extractor -> all that its numbers depend on beside the clips, as JSON values.
        beside_sha256: of what is beside the samples, by what that is.
        numbers: extractor -> (the samples' numbers, the real clips', if it compares with any).
        notes: what a person should know, a line each.
        recalled: clips whose numbers were there already, over all extractors.
    """

    figures: dict[str, dict[str, Any]]
    real_sha256: str
    samples_sha256: str
    settings: Mapping[str, Any]
    judged_by: Mapping[str, Mapping[str, Any]]
    beside_sha256: Mapping[str, str]
    numbers: Mapping[str, tuple[np.ndarray, np.ndarray | None]]
    notes: tuple[str, ...]
    recalled: int


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
    compared: Mapping[str, Compared],
    names: Sequence[str],
    *,
    extractors: Mapping[str, Extractor],
    cache: Path | None,
    seed: int,
    given: Given | None = None,
) -> Comparison:
    """Return the figures of samples against real clips, which are read once.

    Args:
        compared: the sets, by what their clips have beside them; "" for nothing.
        names: of the figures.
        extractors: what `make_extractors` made for these figures.
        cache: folder that keeps the numbers of clips; None for none.
        seed: of the intervals.
        given: settings of figures.

    Raises:
        InputError: for too few clips, unequal shapes, or a figure without its sets, settings or
            labels.
    """
    settings: dict[str, Any] = {}
    for kind, own in by_kind(names, compared).items():
        check_sets(compared[kind], own)
        samples = compared[kind].samples
        settings |= settings_of(own, given or Given(), samples.count, samples.shape)
    plain = compared[""].by_name if "" in compared else {}
    labels = labels_of(names, plain)
    numbers = _numbers(compared, names, extractors, cache)
    figures = {}
    notes = []
    for name in tracked(names, "figures and their intervals", len(names), "figure"):
        own = own_settings(FIGURES[name], settings)
        rows = {
            what: one[FIGURES[name].extractor].rows
            for what, one in numbers[FIGURES[name].beside].items()
        }
        if name in labels:
            rows = {what: with_label(own, labels[name][what]) for what, own in rows.items()}
        videos = {what: c.videos for what, c in compared[FIGURES[name].beside].by_name.items()}
        figures[name], remarks = measured(FIGURES[name], rows, own, videos, seed)
        judge = FIGURES[name].extractor
        figures[name]["made_by"] = {"extractor": judge, **extractors[judge].made_by, **own}
        notes += [f"{name}: {remark}" for remark in remarks]
    notes += [*_remarks(compared, names, extractors), *_one_video(compared)]
    every = {what: _digests(numbers, what) for what in SETS}
    beside = {kind: next(iter(found["samples"].values())).beside for kind, found in numbers.items()}
    return Comparison(
        figures=figures,
        real_sha256=digest_of_set([*every["real"], *every["others"]]),
        samples_sha256=digest_of_set(every["samples"]),
        settings=settings,
        judged_by={
            FIGURES[one].extractor: extractors[FIGURES[one].extractor].made_by for one in names
        },
        beside_sha256={kind: digest_of_set(sums) for kind, sums in beside.items() if kind},
        numbers={
            name: (one.rows, found["real"][name].rows if "real" in found else None)
            for found in numbers.values()
            for name, one in found["samples"].items()
        },
        notes=tuple(notes),
        recalled=sum(
            one.recalled for sets in numbers.values() for by in sets.values() for one in by.values()
        ),
    )


def _numbers(
    compared: Mapping[str, Compared],
    names: Sequence[str],
    extractors: Mapping[str, Extractor],
    cache: Path | None,
) -> dict[str, Numbers]:
    """Return the numbers of all sets that the figures need, each clip read once."""
    jobs: list[tuple[str, str, ClipSet, list[Extractor]]] = []
    for kind, own in by_kind(names, compared).items():
        wanted = [extractors[name] for name in dict.fromkeys(FIGURES[n].extractor for n in own)]
        for what in SETS:
            clips = getattr(compared[kind], what)
            if clips is not None:
                jobs.append((kind, what, clips, wanted))
    found = extract_all([(clips, wanted) for _, _, clips, wanted in jobs], cache=cache)
    numbers: dict[str, Numbers] = {}
    for (kind, what, _, _), one in zip(jobs, found, strict=True):
        numbers.setdefault(kind, {})[what] = one
    return numbers


def _digests(numbers: Mapping[str, Numbers], what: str) -> list[str]:
    """Return the digests of a set's clips over all kinds, each once but within a set."""
    found: list[str] = []
    for sets in numbers.values():
        if what in sets:
            one = next(iter(sets[what].values()))
            known = set(found)
            found += [digest for digest in one.digests if digest not in known]
    return found


def _remarks(
    compared: Mapping[str, Compared], names: Sequence[str], extractors: Mapping[str, Extractor]
) -> list[str]:
    """Return lines on what lies beside the samples, from those extractors that look at it."""
    lines = []
    for name in dict.fromkeys(FIGURES[name].extractor for name in names):
        extractor = extractors[name]
        if extractor.remark is not None:
            samples = compared[extractor.beside].samples
            beside = samples.beside[extractor.beside]
            numbers = range(samples.count)
            remark = extractor.remark(
                [samples.describe(i) for i in numbers], list(map(beside, numbers))
            )
            lines += [f"{name}: {remark}"] * bool(remark)
    return lines


def _one_video(compared: Mapping[str, Compared]) -> list[str]:
    """Return lines on sets whose intervals tell nothing of other videos."""
    sets = {SETS[what]: clips for one in compared.values() for what, clips in one.by_name.items()}
    return [
        f"all {clips.count} {what} are windows of one video: intervals tell nothing of others"
        for what, clips in sets.items()
        if clips.count > 1 and clips.videos is not None and len(set(clips.videos)) == 1
    ]
