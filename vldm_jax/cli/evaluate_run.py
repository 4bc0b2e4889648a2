"""Samples of a trained stage, and clips of its data, as the sets of an evaluation.

Samples are asked for what the real clips are (their labels), so that the two sets differ by the
model alone. They are written as they are made, a file a batch: a second start goes on.
"""

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

import vldm_jax
from vldm_jax.checkpoint.weights import WEIGHTS
from vldm_jax.cli.sample import METADATA, begin
from vldm_jax.config.data import build_source
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import atomic_path, write_json
from vldm_jax.data.relabel import RelabelledSource
from vldm_jax.evals.clips import ClipSet
from vldm_jax.evals.compare import check_length, labels_of
from vldm_jax.evals.labels import Labels
from vldm_jax.evals.sets import Sets, clips_of_each, halves
from vldm_jax.stages import asking
from vldm_jax.stages.base import Stage
from vldm_jax.stages.plan import make_plan
from vldm_jax.typing import Conditioning, PyTree

FOLDER = "samples"


def run_sets(config: ConfigDict, args: argparse.Namespace) -> Sets:
    """Return the sets of a trained stage; makes as many samples as they need.

    Real clips are windows of `config.data` that do not overlap, drawn by the seed.

    Raises:
        InputError: if the stage has nothing to sample, or the data too little.
    """
    _check_shape(args, config)
    check_length(args.figures, config.data.num_frames)
    with config.unlocked():
        config.data.stride = float(config.data.num_frames)
    stage = make_plan(config).stage
    params, files = stage.load(args.weights or str(args.workdir / WEIGHTS))
    source = build_source(config.data)
    count, line = clips_of_each(None, len(source), args.clips)
    drawn = np.random.default_rng(args.seed).permutation(len(source))
    real, others = halves(_clips(source, config).picked(drawn), count)
    cond = _asked(stage, source, drawn[:count])
    asked = real.labels if "labels" in cond else None
    labelled = {"samples": dataclasses.replace(real, labels=asked), "real clips": real}
    labels_of(args.figures, {**labelled, "other real clips": others})
    about = {
        "version": vldm_jax.__version__,
        "complete": False,
        **stage.describe(cond),
        **asking.made_with(stage.conditions, config, files),
    }
    made_with = {key: about[key] for key in ("sampling", "diffusion", "weights_sha256")}
    samples = _sample(stage, params, config, (cond, count), about, args.out / FOLDER)
    return Sets(
        samples=dataclasses.replace(samples, labels=asked),
        real=real,
        others=others,
        recipe={
            "clips": count,
            "frames": config.data.num_frames,
            "fps": float(config.data.fps),
            "size": [config.data.height, config.data.width],
            "resize": "bicubic, antialiased, centre",
            "real_windows": "all",
            "conditions": "those of the real clips",
            "conditioning_frames": 0,
        },  # fmt: skip
        made_with={**made_with, "seed": config.seed},
        notes=(line,),
    )


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


def _clips(source: RelabelledSource, config: ConfigDict) -> ClipSet:
    def read(number: int) -> np.ndarray:
        example = source[number]
        return example["video"] if "video" in example else example["image"][None]

    return ClipSet(
        read=read, describe=source.describe, count=len(source), fps=float(config.data.fps),
        shape=(config.data.num_frames, config.data.height, config.data.width),
        labels=Labels(names=source.label_names, of=lambda i: source[i]["labels"]),
    )  # fmt: skip


def _asked(stage: Stage, source: RelabelledSource, numbers: np.ndarray) -> Conditioning:
    """Return what samples are asked for: what the real clips with these numbers are."""
    cond = stage.request(len(numbers), unknown=source.unknown)
    examples = [source[int(number)] for number in numbers]
    return {
        key: np.stack([one[key] for one in examples]) if key in examples[0] else value
        for key, value in cond.items()
    }


def _sample(
    stage: Stage,
    params: PyTree,
    config: ConfigDict,
    asked: tuple[Conditioning, int],
    about: Mapping[str, Any],
    out: Path,
) -> ClipSet:
    """Write the samples that are not there yet; return them all."""
    begin(out, about)
    (cond, count), sampler, size = asked, stage.sampler(), config.sampling.batch_size
    key, index = jax.random.key(config.seed), np.arange(count)
    files = [out / f"{first:06}.npy" for first in range(0, count, size)]
    with tqdm(total=count, desc="sampling", unit="clip", disable=None) as bar:
        for number, file in enumerate(files):
            left = min(size, count - number * size)
            if not file.exists():
                # The last batch is filled up: one program serves all.
                rows = index[(number * size + np.arange(size)) % count]
                part = {name: value[rows] for name, value in cond.items()}
                (frames,) = sampler.in_batches(params, key, rows, part, size)
                with atomic_path(file) as temporary:
                    np.save(temporary, frames[:left])
            bar.update(left)
    write_json(out / METADATA, {**about, "complete": True})
    return ClipSet(
        read=lambda i: np.load(files[i // size], mmap_mode="r")[i % size],
        describe=lambda i: f"sample {i}", count=count, fps=float(config.data.fps),
        shape=(config.data.num_frames, config.data.height, config.data.width),
    )  # fmt: skip
