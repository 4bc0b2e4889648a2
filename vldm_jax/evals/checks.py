"""What cannot be compared, said before anything slow: names, lengths, settings, labels, sets."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.core.words import counted
from vldm_jax.evals.clips import ClipSet
from vldm_jax.evals.companions import BOXES
from vldm_jax.evals.figures import FIGURES
from vldm_jax.evals.given import Given
from vldm_jax.evals.labels import label_column
from vldm_jax.evals.sets import Compared
from vldm_jax.typing import Float

SETS = {"samples": "samples", "real": "real clips", "others": "other real clips"}
HOW = {
    "borders": "say where chunks meet, --chunk N[:OVERLAP] or --borders A,B,...",
    "tiles": "say how large a tile is, --tiles HxW",
}


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


def check_count(names: Sequence[str], clips: int, asked: str = "") -> None:
    """Raise for figures that take more clips in a set than these.

    Args:
        names: of the figures.
        clips: that there are, or are asked for.
        asked: by which flag or key they are asked for, for the message; "" if they are there.

    Raises:
        InputError: naming the figures that take more.
    """
    if many := [name for name in names if clips < FIGURES[name].fewest]:
        fewest = max(FIGURES[name].fewest for name in many)
        which = f"for {', '.join(many)}, which {'takes' if len(many) == 1 else 'take'} {fewest}"
        few = f"{asked} {clips} is too few" if asked else f"{counted(clips, 'clip')}: too few"
        raise InputError(f"{few} {which}: {'ask for' if asked else 'give'} more")


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
            remedy = "leave it out" if BOXES in lacking else "leave it to vldm evaluate"
            raise InputError(f"{name} takes clips with {what}: {remedy}")


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


def by_kind(names: Sequence[str], compared: Mapping[str, Compared]) -> dict[str, list[str]]:
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


def check_sets(sets: Compared, names: Sequence[str]) -> None:
    """Raise unless the sets are of one kind and as large as figures take.

    Raises:
        InputError: naming what is not.
    """
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
    check_count(names, min(clips.count for clips in (samples, *real)))
