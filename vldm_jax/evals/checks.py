"""What can be known to be wrong with figures before any clip is there."""

from collections.abc import Sequence
from typing import Any

from vldm_jax.core.errors import InputError
from vldm_jax.evals.figures import FIGURES
from vldm_jax.evals.given import Given

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


def check_alone(names: Sequence[str]) -> None:
    """Raise for a figure that takes more than clips, which samples of a stage are not given.

    Raises:
        InputError: naming it.
    """
    for name in names:
        if FIGURES[name].beside or FIGURES[name].needs:
            what = FIGURES[name].beside or ", ".join(FIGURES[name].needs)
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
