"""Two folders of anybody's videos as the sets of an evaluation."""

import argparse

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.evals.clips import ClipSet, Look, folder_clips, look
from vldm_jax.evals.sets import Sets, clips_of_each, halves

FRAMES = 16  # of a clip, if nothing says otherwise: FVD's


def folder_sets(args: argparse.Namespace) -> Sets:
    """Return the sets of `--samples` and `--real`.

    Clips are as the samples are, unless flags say otherwise; what that changes is said.

    Raises:
        InputError: if a folder has nothing usable, or too little.
    """
    index = {kind: args.out / f"scan_{kind}.json" for kind in ("samples", "real")}
    own = look(args.samples, index["samples"])
    frames = args.frames or FRAMES
    shape = (frames, *(args.size or (own.height, own.width)))
    fps = _rate(args, own)
    made: dict[str, ClipSet] = {}
    for kind, windows in (("samples", args.sample_windows), ("real", args.real_windows)):
        made[kind] = folder_clips(
            getattr(args, kind), shape=shape, fps=fps, windows=windows, seed=args.seed,
            index=index[kind], cuts=kind == "real",
        )  # fmt: skip
    count, line = clips_of_each(made["samples"].count, made["real"].count, args.clips)
    real, others = halves(made["real"], count)
    notes = [f"{kind}: {note}" for kind, clips in made.items() for note in clips.notes]
    for kind, clips in made.items():
        notes += [f"{kind}: {n} videos left out: {why}" for why, n in clips.left_out.items()]
    return Sets(
        samples=made["samples"].picked(np.arange(count)),
        real=real,
        others=others,
        recipe={
            "clips": count,
            "frames": frames,
            "fps": fps,
            "size": list(shape[1:]),
            "resize": "bicubic, antialiased, centre",
            "real_windows": args.real_windows,
            "sample_windows": args.sample_windows,
        },  # fmt: skip
        made_with={"folder": args.samples.name},
        notes=(*notes, line),
    )


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
