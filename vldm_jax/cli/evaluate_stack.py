"""A stack and a folder of real videos as the sets of an evaluation."""

import argparse
import dataclasses

import numpy as np
from ml_collections import ConfigDict

from vldm_jax.cli.evaluate_folders import FRAMES
from vldm_jax.cli.evaluate_run import FOLDER
from vldm_jax.cli.stack import parts_of_stack
from vldm_jax.core.errors import InputError
from vldm_jax.evals.checks import check_length, labels_of, settings_of
from vldm_jax.evals.clips import folder_clips
from vldm_jax.evals.given import Given
from vldm_jax.evals.halves import FLOOR, real_halves
from vldm_jax.evals.labels import Labels
from vldm_jax.evals.sets import Sets, left_out_lines
from vldm_jax.sampling.upsampling import FACTOR
from vldm_jax.stack.clips import stack_clips
from vldm_jax.stack.fits import make_stack_plan
from vldm_jax.stack.plan import StackPlan, plan_of
from vldm_jax.stages.asking import asked_in_words


def stack_sets(args: argparse.Namespace, config: ConfigDict, given: Given) -> Sets:
    """Return the sets of a stack: its videos, with the labels that the real clips have.

    Raises:
        InputError: if parts do not fit, the real clips are too few, or a flag asks for clips that
            the stack does not make.
    """
    frames = args.frames or FRAMES
    plan = _plan(args, config, frames)
    shape = (frames, *_size(plan))
    _check_shape(args, plan, shape)
    check_length(args.figures, frames)
    settings_of(args.figures, given, None, shape)
    real = folder_clips(
        args.real, shape=shape, fps=plan.fps, windows=args.real_windows, seed=args.seed,
        index=args.out / "scan_real.json",
    )  # fmt: skip
    halves = real_halves(real)
    count, line = halves.of_each(None, args.clips, args.asked["clips"])
    one, others = halves.sets(count)
    assert others is not None
    names = _names(plan, one.labels)
    labels = [_known(one.labels, names, i) for i in range(count)]
    asked = dataclasses.replace(one, labels=_asked(names, labels))
    labels_of(args.figures, {"samples": asked, "real": one, "others": others})
    samples, made_with = stack_clips(plan, labels, config.seed, args.out / FOLDER)
    return Sets(
        samples=dataclasses.replace(samples, labels=_asked(names, labels)),
        real=one,
        others=others,
        recipe={
            "clips": count,
            "frames": frames,
            "fps": plan.fps,
            "size": list(shape[1:]),
            "resize": "bicubic, antialiased, centre",
            "real_windows": args.real_windows,
            "floor": FLOOR,
            "conditions": _conditions(plan, names),
            "conditioning_frames": 0,
        },
        made_with=made_with,
        notes=(*real.notes, *left_out_lines(real), *halves.notes, line),
    )


def _plan(args: argparse.Namespace, config: ConfigDict, frames: int) -> StackPlan:
    """Return the plan of a video that is a clip long; its rate is known by its parts alone."""
    parts = parts_of_stack(args.config, config)
    rate = plan_of(parts, 1.0).fps
    return make_stack_plan(parts, frames / rate)


def _size(plan: StackPlan) -> tuple[int, int]:
    factor = 1 if plan.upsampler is None else FACTOR
    data = plan.prediction.config.data
    return factor * data.height, factor * data.width


def _check_shape(args: argparse.Namespace, plan: StackPlan, shape: tuple[int, int, int]) -> None:
    """Raise for clips other than the stack's own, which flags or a preset ask for."""
    for flag, own in (("fps", plan.fps), ("size", shape[1:])):
        asked = getattr(args, flag)
        if asked is not None and asked != own:
            raise InputError(
                f"clips with {flag} {asked} are asked for, the stack makes {own}: evaluate it at "
                "its own, or its videos with --samples"
            )


def _conditions(plan: StackPlan, names: tuple[str, ...]) -> str | dict[str, str]:
    """Return what videos are asked for, in words."""
    stage = plan.prediction.stage
    return asked_in_words(stage.asked_for, stage.config, ("labels",) if names else ())


def _names(plan: StackPlan, labels: Labels | None) -> tuple[str, ...]:
    """Return the labels that the clips have and the stack takes."""
    known = plan.prediction.config.data.labels
    return () if labels is None else tuple(name for name in labels.names if name in known)


def _known(labels: Labels | None, names: tuple[str, ...], number: int) -> dict[str, float]:
    """Return a clip's labels by name, without those that are unknown."""
    if labels is None:
        return {}
    values = dict(zip(labels.names, labels.of(number), strict=True))
    return {name: float(values[name]) for name in names if not np.isnan(values[name])}


def _asked(names: tuple[str, ...], labels: list[dict[str, float]]) -> Labels | None:
    if not names:
        return None
    rows = [[one[name] if name in one else np.nan for name in names] for one in labels]
    return Labels(names=names, of=lambda i: np.array(rows[i], np.float32))
