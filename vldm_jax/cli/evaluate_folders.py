"""Two folders of anybody's videos as the sets of an evaluation."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vldm_jax.cli.evaluate_beside import BESIDE, Folders, check_beside
from vldm_jax.core.errors import InputError
from vldm_jax.evals.checks import check_length, settings_of
from vldm_jax.evals.clips import ClipSet, Look, folder_clips, look
from vldm_jax.evals.companions import REFERENCE
from vldm_jax.evals.figures import FIGURES
from vldm_jax.evals.given import Given
from vldm_jax.evals.halves import FLOOR, real_halves
from vldm_jax.evals.sets import Sets, left_out_lines

FRAMES = 16  # of a clip, if nothing says otherwise: FVD's


def folder_sets(args: argparse.Namespace, given: Given) -> Sets:
    """Return the sets of `--samples` and `--real`.

    Clips are as the samples are, unless flags say otherwise; what that changes is said.

    Raises:
        InputError: if a folder has nothing usable, or too little, or figures lack what they take.
    """
    kinds = {FIGURES[name].beside for name in args.figures}
    check_beside(args, kinds)
    own = look(args.samples, _index(args, "samples"))
    frames = args.frames or FRAMES
    shape = (frames, *(args.size or (own.height, own.width)))
    fps = _rate(args, own)
    check_length(args.figures, frames)
    settings = settings_of(args.figures, given, None, shape)
    made = dict(_clips(args, shape, fps, real=kinds != {REFERENCE}))
    samples, real, others = made["samples"], made.get("real"), None
    if "tiles" in settings:
        _check_whole(args, samples)
    notes = [f"{kind}: {note}" for kind, clips in made.items() for note in clips.notes]
    notes += [f"{kind}: {line}" for kind, clips in made.items() for line in left_out_lines(clips)]
    folders = Folders(args=args, samples=samples, real=real, index=_index(args, "real"))
    beside = {kind: BESIDE[kind](folders) for kind in sorted(kinds - {""})}
    notes += [line for one in beside.values() for line in one.notes]
    counts = [one.compared.samples.count for one in beside.values()]
    if "" in kinds and real is not None:
        halves = real_halves(real, floor=not args.no_floor)
        count, line = halves.of_each(samples.count, args.clips, args.asked["clips"])
        samples, (real, others) = samples.picked(np.arange(count)), halves.sets(count)
        counts, notes = [count], [*notes, *halves.notes, line]
    recipe = {
        "clips": counts[0],
        "frames": frames,
        "fps": fps,
        "size": list(shape[1:]),
        "resize": "bicubic, antialiased, centre",
        "real_windows": args.real_windows,
        "floor": None if others is None else FLOOR,
        "sample_windows": args.sample_windows,
    }  # fmt: skip
    told = {"beside": {kind: one.recipe for kind, one in beside.items()}} if beside else {}
    return Sets(
        samples=samples,
        real=real,
        others=others,
        recipe=recipe | told,
        made_with={"folder": args.samples.name},
        notes=tuple(notes),
        beside={kind: one.compared for kind, one in beside.items()},
    )


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
