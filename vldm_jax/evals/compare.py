"""Samples against real clips: every figure asked for, from sets of clips to a table of values."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.evals.clips import ClipSet, digest_of_set
from vldm_jax.evals.extract import Extracted, Extractor, extract_all
from vldm_jax.evals.extractors import make_extractor
from vldm_jax.evals.figures import FIGURES
from vldm_jax.evals.given import Given
from vldm_jax.evals.labels import label_column, with_label
from vldm_jax.evals.sets import Compared
from vldm_jax.evals.value import evaluate, own_settings
from vldm_jax.typing import Float

SETS = {"samples": "samples", "real": "real clips", "others": "other real clips"}
Numbers = dict[str, dict[str, Extracted]]  # of one `Compared`: its set -> extractor -> numbers


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Comparison:
    """What a comparison found.

    Attributes:
        figures: name -> JSON values: value, interval, floor, floor_interval, unit, made_by.
        real_sha256: of the real clips, the floor's among them.
        samples_sha256: of the samples.
        settings: what figures were called with, as JSON values.
        beside_sha256: of what is beside the samples, by what that is.
        numbers: extractor -> (the samples' numbers, the real clips', if it compares with any).
        notes: what a person should know, a line each.
        recalled: clips whose numbers were there already, over all extractors.
    """

    figures: dict[str, dict[str, Any]]
    real_sha256: str
    samples_sha256: str
    settings: Mapping[str, Any]
    beside_sha256: Mapping[str, str]
    numbers: Mapping[str, tuple[np.ndarray, np.ndarray | None]]
    notes: tuple[str, ...]
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
                f"{frames}: leave it out, or take longer clips"
            )


def check_alone(names: Sequence[str], beside: Collection[str] = ()) -> None:
    """Raise for a figure that takes more than clips, which samples of a stage are not given.

    Args:
        names: of the figures.
        beside: what the samples have beside them.

    Raises:
        InputError: naming it.
    """
    for name in names:
        lacking = {FIGURES[name].beside} - {"", *beside} or FIGURES[name].needs
        if lacking:
            what = ", ".join(lacking)
            raise InputError(f"{name} takes clips with {what}: leave it to vldm evaluate")


def settings_of(
    names: Sequence[str], given: Given, clips: int | None, shape: tuple[int, int, int]
) -> dict[str, Any]:
    """Return what figures are called with, as JSON values; to be asked before clips are made.

    Args:
        names: of the figures.
        given: of which they take what is theirs.
        clips: how many there are in a set; None if that is not known yet.
        shape: (t, h, w) of a clip.

    Raises:
        InputError: if a figure needs what is not given, or it does not fit the clips.
    """
    for name in names:
        for need in FIGURES[name].needs:
            if getattr(given, need) is None:
                raise InputError(
                    f"{name} is not defined without {need}: {HOW[need]}, or leave it out"
                )
    wanted = {one for name in names for one in (*FIGURES[name].takes, *FIGURES[name].needs)}
    return given.fixed(sorted(wanted), clips, shape)


HOW = {
    "borders": "say where chunks meet, --chunk N[:OVERLAP] or --borders A,B,...",
    "tiles": "say how large a tile is, --tiles HxW",
}


def labels_of(
    names: Sequence[str], sets: Mapping[str, ClipSet]
) -> dict[str, dict[str, Float[np.ndarray, " n"]]]:
    """Return {figure: {set: the label of each clip}} of figures that need one.

    To be asked of the real clips before samples are made.

    Args:
        names: of the figures.
        sets: clips by which they are, a key of `SETS`.

    Raises:
        InputError: if a set lacks a label that a figure needs.
    """
    return {
        name: {
            what: label_column(
                clips.labels, FIGURES[name].label, clips.count, figure=name, what=SETS[what]
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
    for kind, own in _by_kind(names, compared).items():
        _check_sets(compared[kind], own)
        samples = compared[kind].samples
        settings |= settings_of(own, given or Given(), samples.count, samples.shape)
    plain = compared[""].by_name if "" in compared else {}
    labels = labels_of(names, plain)
    numbers = _numbers(compared, names, extractors, cache)
    figures = {}
    notes = []
    for name in names:
        own = own_settings(FIGURES[name], settings)
        rows = {
            what: one[FIGURES[name].extractor].rows
            for what, one in numbers[FIGURES[name].beside].items()
        }
        if name in labels:
            rows = {what: with_label(own, labels[name][what]) for what, own in rows.items()}
        figures[name], remark = _measured(name, rows, own, seed)
        made_by = {**extractors[FIGURES[name].extractor].recipe, **own}
        figures[name]["made_by"] = {"extractor": FIGURES[name].extractor, **made_by}
        notes += [f"{name}: {remark}"] * bool(remark)
    notes += _remarks(compared, names, extractors)
    every = {what: _digests(numbers, what) for what in SETS}
    beside = {kind: next(iter(found["samples"].values())).beside for kind, found in numbers.items()}
    return Comparison(
        figures=figures,
        real_sha256=digest_of_set([*every["real"], *every["others"]]),
        samples_sha256=digest_of_set(every["samples"]),
        settings=settings,
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


def _measured(
    name: str, rows: Mapping[str, np.ndarray], own: Mapping[str, Any], seed: int
) -> tuple[dict[str, Any], str]:
    """Return a figure as JSON values, and what a person should know of it."""
    figure = FIGURES[name]
    value = evaluate(
        figure, rows["samples"], rows.get("real"), rows.get("others"), settings=own, seed=seed
    )  # fmt: skip
    remark = figure.remark(rows["samples"], **own) if figure.remark else ""
    return {**dataclasses.asdict(value), "unit": figure.unit, "says": figure.says}, remark


def _by_kind(names: Sequence[str], compared: Mapping[str, Compared]) -> dict[str, list[str]]:
    """Return the figures by what their clips have beside them."""
    kinds: dict[str, list[str]] = {}
    for name in names:
        kind = FIGURES[name].beside
        if kind not in compared:
            what = f"clips with a {kind} each" if kind else "samples and real clips"
            raise InputError(
                f"{name} is of {what}, and there are none: leave it out with --figures"
            )
        kinds.setdefault(kind, []).append(name)
    return kinds


def _numbers(
    compared: Mapping[str, Compared],
    names: Sequence[str],
    extractors: Mapping[str, Extractor],
    cache: Path | None,
) -> dict[str, Numbers]:
    """Return the numbers of all sets that the figures need, each clip read once."""
    jobs: list[tuple[str, str, ClipSet, list[Extractor]]] = []
    for kind, own in _by_kind(names, compared).items():
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


def _check_sets(sets: Compared, names: Sequence[str]) -> None:
    samples = sets.samples
    real = [clips for clips in (sets.real, sets.others) if clips is not None]
    for clips in real:
        if (clips.shape, clips.fps) != (samples.shape, samples.fps):
            raise InputError(
                f"samples are {samples.shape} (frames, rows, columns) at {samples.fps:g} fps, real "
                f"clips {clips.shape} at {clips.fps:g} fps: compare clips of one kind"
            )
    for name in names:
        if FIGURES[name].against_real and sets.real is None:
            raise InputError(f"{name} compares with real clips, and there are none: give some")
    check_length(names, samples.shape[0])
    fewest = max(FIGURES[name].fewest for name in names)
    if (count := min(clips.count for clips in (samples, *real))) < fewest:
        raise InputError(
            f"{count} clips are too few for {', '.join(names)}, which take {fewest}: give more"
        )
