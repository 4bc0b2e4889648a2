"""A trained stage and its data as the sets of an evaluation, by the flags of the command."""

import argparse

from ml_collections import ConfigDict

from vldm_jax.checkpoint.weights import WEIGHTS
from vldm_jax.core.errors import InputError
from vldm_jax.evals.sets import Sets
from vldm_jax.stages.base import Stage
from vldm_jax.stages.samples import check_lengths, kept_samples, real_clips

FOLDER = "samples"


def run_sets(stage: Stage, args: argparse.Namespace) -> Sets:
    """Return the sets of a trained stage; makes as many samples as they need.

    Raises:
        InputError: if the stage has nothing to sample, or the data too little.
    """
    _check_shape(args, stage.config)
    check_lengths(args.figures, stage)
    params, files = stage.load(args.weights or str(args.workdir / WEIGHTS))
    real = real_clips(stage, clips=args.clips, seed=args.seed, asked=args.asked["clips"])
    real.check_labels(args.figures, stage)
    samples, made_with = kept_samples(stage, params, files, real.asked(stage), args.out / FOLDER)
    return real.sets(samples, made_with)


def _check_shape(args: argparse.Namespace, config: ConfigDict) -> None:
    """Raise for clips other than the run's own, which flags or a preset ask for."""
    data = config.data
    for flag, own, keys in (
        ("frames", data.num_frames, "num_frames"),
        ("fps", data.fps, "fps"),
        ("size", (data.height, data.width), "height, width"),
    ):
        asked = getattr(args, flag)
        if asked is not None and asked != own:
            raise InputError(
                f"clips with {flag} {asked} are asked for, the run makes {own}: evaluate a run at "
                f"its own (config.data.{keys}), or its videos with --samples"
            )
