"""`vldm sample`: videos (or images) of a trained stage, with a contact sheet and metadata."""

from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

import vldm_jax
from vldm_jax.checkpoint.weights import WEIGHTS
from vldm_jax.cli.flags import Parser, add_config, folder, load_config, overrides_of
from vldm_jax.cli.output import write_sheet, write_videos
from vldm_jax.cli.run_config import asked_config
from vldm_jax.cli.stack import add_stack, is_stack, refuse_flags, sample_stack
from vldm_jax.core.files import write_json
from vldm_jax.core.progress import Progress
from vldm_jax.core.words import counted
from vldm_jax.parallel.compilation import compilations_kept
from vldm_jax.stages import asking
from vldm_jax.stages.begun import METADATA, begin
from vldm_jax.stages.plan import make_plan

SHEET = "contact_sheet.png"


def run(argv: Sequence[str]) -> None:
    """Parse the flags, sample, write."""
    parser = Parser("sample", "Sample a trained stage: mp4, GIF, contact sheet, metadata.json.")
    add_config(parser, required=False)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--workdir", type=folder, help="folder that the stage was trained in")
    source.add_argument("--weights", help="weights file instead of a workdir, also asset:NAME")
    parser.add_argument("--out", type=folder, required=True, help="new folder to write to")
    parser.add_argument("--num", type=int, help="number of samples, config.sampling.num_videos")
    parser.add_argument("--seed", type=int, help="of the noise, config.seed")
    add_stack(parser)
    args, rest = parser.parse_known_args(argv)
    overrides = overrides_of(parser, rest)
    if args.config is not None and is_stack(load_config(args.config)):
        if args.workdir or args.weights:
            parser.error("a stack names the weights of its parts: config.parts.NAME.weights")
        seed = [] if args.seed is None else [f"--config.seed={args.seed}"]
        with compilations_kept():
            sample_stack(parser, args, load_config(args.config, [*overrides, *seed]))
        return
    refuse_flags(parser, args)
    if not (args.workdir or args.weights):
        parser.error("one of the arguments --workdir --weights is required")
    if args.num is not None:
        overrides.append(f"--config.sampling.num_videos={args.num}")
    if args.seed is not None:
        overrides.append(f"--config.seed={args.seed}")
    config = asked_config(parser, args, overrides)
    weights = args.weights or str(args.workdir / WEIGHTS)
    with compilations_kept():
        sample(config, weights, args.out)


def sample(config: ConfigDict, weights: str, out: Path) -> None:
    """Write samples of trained weights into a folder, each as soon as it is there."""
    stage = make_plan(config).stage
    sampler = stage.sampler()
    stage.request(1)  # raises where a config cannot ask, before weights are read
    params, files = stage.load(weights)
    unknown = files["weights"].meta.get("unknown", {})
    cond = stage.request(config.sampling.num_videos, unknown=unknown)
    about = {
        "version": vldm_jax.__version__,
        "complete": False,
        **stage.describe(cond),
        **asking.made_with(stage.conditions, config, files),
    }
    begin(out, about)
    if "steps" in files["weights"].meta:
        print(f"{weights}: the weights after step {files['weights'].meta['steps']}", flush=True)
    for key, names in unknown.items():
        if names and key in cond:
            print(f"{key} {', '.join(names)} were unknown in training: samples do not ask for them")
    # A network without conditions was asked for nothing.
    captions, done = stage.captions(cond) or [""] * config.sampling.num_videos, []
    with Progress("sampling", len(captions), "sample", leave=True) as progress:
        index, size = np.arange(len(captions)), config.sampling.batch_size
        progress.note("compiling")
        for frames in sampler.in_batches(params, jax.random.key(config.seed), index, cond, size):
            write_videos(out, frames, float(config.data.fps), first=sum(map(len, done)))
            done.append(frames)
            progress.note("")
            progress.update(len(frames))
    videos = np.concatenate(done)
    write_sheet(out / SHEET, stage.pictures(videos, cond), captions)
    write_json(out / METADATA, {**about, "complete": True})
    frames = counted(videos.shape[1], "frame")
    print(f"{out}: {counted(len(videos), 'sample')} of {frames}, and {SHEET}")
