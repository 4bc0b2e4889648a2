"""Samples with something beside them, as the sets of figures that take it: captions, originals."""

import argparse
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.core.words import counted
from vldm_jax.evals.captions import read_captions
from vldm_jax.evals.clips import ClipSet
from vldm_jax.evals.companions import BOXES, CAPTION, REFERENCE, with_captions, with_references
from vldm_jax.evals.figures import FIGURES
from vldm_jax.evals.sets import Compared, left_out_lines


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Folders:
    """The clips of two folders.

    Attributes:
        args: the flags.
        samples: all clips of the samples.
        real: all real clips; None if there are none.
        index: file that keeps the scan of the real folder.
    """

    args: argparse.Namespace
    samples: ClipSet
    real: ClipSet | None
    index: Path


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Beside:
    """Clips that have something beside them, as sets.

    Attributes:
        compared: the sets.
        recipe: how they came by it, as JSON values.
        notes: what a person should know, a line each.
    """

    compared: Compared
    recipe: Mapping[str, Any]
    notes: tuple[str, ...]


def check_beside(args: argparse.Namespace, kinds: set[str]) -> None:
    """Raise for flags that lack what figures take; to be asked before anything slow.

    Args:
        args: the flags.
        kinds: what the figures' clips have beside them, "" for nothing.

    Raises:
        InputError: naming the flag.
    """
    if BOXES in kinds:
        raise InputError(
            "agreement_boxes is of a run whose samples are asked for boxes, --workdir: leave it out"
        )
    if args.real is None and kinds != {CAPTION}:
        raise InputError("--samples takes --real, a folder of real videos to compare with")
    if CAPTION in kinds:
        if args.captions is None:
            raise InputError("clipsim takes --captions FILE, with video and caption: give it")
        read_captions(args.captions)


def _captioned(folders: Folders) -> Beside:
    """Return the samples with their captions, and real clips with theirs for the floor."""
    args, captions = folders.args, read_captions(folders.args.captions)
    told = with_captions(folders.samples, captions, args.seed)
    if not told.count:
        raise InputError(
            f"{args.captions} has no caption of a video of {args.samples}, as of "
            f"{folders.samples.describe(0)}: name them as the files are named"
        )
    samples, others = _as_many(told, args, "samples with captions"), None
    notes = [f"clipsim: {line}" for line in left_out_lines(samples)]
    if folders.real is not None:
        known = with_captions(folders.real, captions, args.seed)
        notes += [f"clipsim: real {line}" for line in left_out_lines(known)]
        if known.count >= FIGURES["clipsim"].fewest:
            others = known.picked(np.arange(min(samples.count, known.count)))
    count = others.count if others else 0
    floor = f"the floor is of {count} real clips" if count else "too few real ones, so no floor"
    return Beside(
        compared=Compared(samples=samples, others=others),
        recipe={
            "clips": samples.count, "real_clips": count, "captions": captions.sha256,
            "seed": args.seed,
        },
        notes=(*notes, f"clipsim: {counted(samples.count, 'clip')} with captions, {floor}"),
    )  # fmt: skip


def _referred(folders: Folders) -> Beside:
    """Return the samples with what they should be: the real video of the same name."""
    args = folders.args
    paired = with_references(folders.samples, args.real, folders.index)
    samples = _as_many(paired, args, "samples with references")
    notes = [f"pairs: {line}" for line in (*samples.notes, *left_out_lines(samples))]
    return Beside(
        compared=Compared(samples=samples),
        recipe={"clips": samples.count, "paired": "by name, frame by frame"},
        notes=(*notes, f"pairs: {counted(samples.count, 'clip')} with their references"),
    )


BESIDE: dict[str, Callable[[Folders], Beside]] = {CAPTION: _captioned, REFERENCE: _referred}


def _as_many(clips: ClipSet, args: argparse.Namespace, what: str) -> ClipSet:
    asked = args.clips
    if asked is not None and asked > clips.count:
        raise InputError(
            f"{args.asked['clips']} {asked}: there are {clips.count} {what}: ask for at most that "
            "with --clips"
        )
    return clips.picked(np.arange(asked or clips.count))
