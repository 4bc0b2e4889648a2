"""Two folders of anybody's videos as the sets of an evaluation."""

import argparse
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.evals.captions import Captions, read_captions
from vldm_jax.evals.clips import ClipSet, Look, folder_clips, look
from vldm_jax.evals.companions import CAPTION, REFERENCE, with_captions, with_references
from vldm_jax.evals.compare import check_length, settings_of
from vldm_jax.evals.figures import FIGURES
from vldm_jax.evals.given import Given
from vldm_jax.evals.sets import Compared, Sets, clips_of_each, halves

FRAMES = 16  # of a clip, if nothing says otherwise: FVD's


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Folders:
    """The clips of two folders.

    Attributes:
        args: the flags.
        samples: all clips of the samples.
        real: all real clips; None if no figure takes any.
        captions: of videos, if they are given.
    """

    args: argparse.Namespace
    samples: ClipSet
    real: ClipSet | None
    captions: Captions | None

    def index(self, kind: str) -> Path:
        """Return the file that keeps the scan of a folder, "real" or "samples"."""
        return _index(self.args, kind)


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


def folder_sets(args: argparse.Namespace, given: Given) -> Sets:
    """Return the sets of `--samples` and `--real`.

    Clips are as the samples are, unless flags say otherwise; what that changes is said.

    Raises:
        InputError: if a folder has nothing usable, or too little, or figures lack what they take.
    """
    kinds = {FIGURES[name].beside for name in args.figures}
    _check_flags(args, kinds)
    captions = read_captions(args.captions) if CAPTION in kinds else None
    own = look(args.samples, _index(args, "samples"))
    frames = args.frames or FRAMES
    shape = (frames, *(args.size or (own.height, own.width)))
    fps = _rate(args, own)
    check_length(args.figures, frames)
    settings = settings_of(args.figures, given, None, shape)
    made = dict(_clips(args, shape, fps, real=bool(kinds - {REFERENCE})))
    if "tiles" in settings:
        _check_whole(args, made["samples"])
    notes = [f"{kind}: {note}" for kind, clips in made.items() for note in clips.notes]
    for kind, clips in made.items():
        notes += [f"{kind}: {n} videos left out: {why}" for why, n in clips.left_out.items()]
    folders = Folders(
        args=args, samples=made["samples"], real=made.get("real"), captions=captions
    )  # fmt: skip
    beside = {kind: BESIDE[kind](folders) for kind in sorted(kinds - {""})}
    notes += [line for one in beside.values() for line in one.notes]
    plain: dict[str, Any] = {"samples": None, "real": None, "others": None}
    counts = [one.compared.samples.count for one in beside.values()]
    if "" in kinds:
        count, line = clips_of_each(made["samples"].count, made["real"].count, args.clips)
        real, others = halves(made["real"], count)
        plain = {
            "samples": made["samples"].picked(np.arange(count)),
            "real": real,
            "others": others,
        }
        counts, notes = [count], [*notes, line]
    return Sets(
        **plain,
        recipe={
            "clips": counts[0],
            "frames": frames,
            "fps": fps,
            "size": list(shape[1:]),
            "resize": "bicubic, antialiased, centre",
            "real_windows": args.real_windows,
            "sample_windows": args.sample_windows,
            **({"beside": {kind: one.recipe for kind, one in beside.items()}} if beside else {}),
        },  # fmt: skip
        made_with={"folder": args.samples.name},
        notes=tuple(notes),
        beside={kind: one.compared for kind, one in beside.items()},
    )


def _captioned(folders: Folders) -> Beside:
    """Return the samples with their captions, and real clips with theirs for the floor."""
    args, captions = folders.args, folders.captions
    assert captions is not None
    samples = with_captions(folders.samples, captions, args.seed)
    if not samples.count:
        raise InputError(
            f"{args.captions} has no caption of a video of {args.samples}, as of "
            f"{folders.samples.describe(0)}: name them as the files are named"
        )
    samples = _as_many(samples, args.clips, "samples with captions")
    others = None
    notes = list(_left_out("clipsim", samples))
    if folders.real is not None:
        others = with_captions(folders.real, captions, args.seed)
        notes += [f"real {line}" for line in _left_out("clipsim", others)]
        others = (
            others.picked(np.arange(min(samples.count, others.count))) if others.count else None
        )
    floor = f"the floor is of {others.count} real clips" if others else "no real ones, so no floor"
    notes.append(f"clipsim: {samples.count} clips with captions, {floor}")
    return Beside(
        compared=Compared(samples=samples, others=others),
        recipe={
            "clips": samples.count, "captions": captions.sha256, "seed": args.seed,
            "real_clips": others.count if others else 0,
        },
        notes=tuple(notes),
    )  # fmt: skip


def _referred(folders: Folders) -> Beside:
    """Return the samples with what they should be: the real video of the same name."""
    args = folders.args
    samples = with_references(folders.samples, args.real, folders.index("real"))
    samples = _as_many(samples, args.clips, "samples with references")
    notes = [*_left_out("pairs", samples), f"pairs: {samples.count} clips with their references"]
    return Beside(
        compared=Compared(samples=samples),
        recipe={"clips": samples.count, "paired": "by name, frame by frame"},
        notes=tuple(notes),
    )


BESIDE = {CAPTION: _captioned, REFERENCE: _referred}


def _as_many(clips: ClipSet, asked: int | None, what: str) -> ClipSet:
    if asked is not None and asked > clips.count:
        raise InputError(f"--clips {asked}: there are {clips.count} {what}: ask for at most that")
    return clips.picked(np.arange(asked or clips.count))


def _left_out(what: str, clips: ClipSet) -> Iterator[str]:
    for why, count in clips.left_out.items():
        yield f"{what}: {count} videos left out: {why}"


def _clips(
    args: argparse.Namespace, shape: tuple[int, int, int], fps: float, *, real: bool
) -> Iterator[tuple[str, ClipSet]]:
    """Yield the clips of the samples and, if they are needed and given, of the real folder."""
    for kind, windows in (("samples", args.sample_windows), ("real", args.real_windows)):
        if kind == "samples" or (real and args.real is not None):
            yield kind, folder_clips(
                getattr(args, kind), shape=shape, fps=fps, windows=windows, seed=args.seed,
                index=_index(args, kind), cuts=kind == "real",
            )  # fmt: skip


def _check_flags(args: argparse.Namespace, kinds: set[str]) -> None:
    if args.real is None and kinds != {CAPTION}:
        raise InputError("--samples takes --real, a folder of real videos to compare with")
    if CAPTION in kinds and args.captions is None:
        raise InputError("clipsim takes --captions FILE, with video and caption: give it")


def _check_whole(args: argparse.Namespace, samples: ClipSet) -> None:
    """Raise if samples are resized: where their tiles meet is not where clips' tiles would."""
    _, height, width = samples.shape
    assert samples.place is not None
    for i in range(samples.count):
        video = samples.place(i).entry.video
        if (video.height, video.width) != (height, width):
            raise InputError(
                f"{args.samples}: {samples.describe(i)} is {video.height}x{video.width}, clips "
                f"{height}x{width}: where tiles meet is lost, so leave seam_space or --size out"
            )


def _index(args: argparse.Namespace, kind: str) -> Path:
    return args.out / f"scan_{kind}.json"


def _rate(args: argparse.Namespace, own: Look) -> float:
    """Return the rate of the clips: the samples' own, which all must share."""
    if args.fps is not None:
        if not 0 < args.fps < float("inf"):
            raise InputError(f"--fps must be positive, got {args.fps}")
        return args.fps
    rates = sorted({rate for _, rate in own.kinds})
    if len(rates) > 1:
        raise InputError(
            f"{args.samples}: videos of {', '.join(f'{rate:g}' for rate in rates[:5])} fps: say at "
            "which rate to compare, --fps"
        )
    return own.fps
