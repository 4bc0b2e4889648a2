"""`vldm train`: one stage from its config; a second start resumes.

The order of what happens is the order of this file: everything that can be wrong is looked at
before anything slow starts.
"""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from vldm_jax.build.check import check, check_files
from vldm_jax.build.data import build_loader, build_source
from vldm_jax.build.stages import Stage, build_stage
from vldm_jax.build.training import build_training
from vldm_jax.checkpoint.manager import Checkpoints, check_workdir
from vldm_jax.checkpoint.owner import check_free, owned
from vldm_jax.checkpoint.weights import WEIGHTS
from vldm_jax.cli.flags import Parser, add_config, parse_with_config
from vldm_jax.cli.sample import write_sheet
from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import check_writable
from vldm_jax.data.pipeline import Source
from vldm_jax.parallel import hosts
from vldm_jax.parallel.compilation import compilations_kept
from vldm_jax.parallel.mesh import local, make_mesh, replicate, shard_batch
from vldm_jax.training.loop import fit
from vldm_jax.training.metrics import MetricsLog
from vldm_jax.training.precision import cast_frozen
from vldm_jax.training.state import TrainState, create_state, split_params
from vldm_jax.training.step import Update
from vldm_jax.training.timetable import Timetable
from vldm_jax.typing import PyTree


def run(argv: Sequence[str]) -> None:
    """Parse the flags and train."""
    parser = Parser("train", "Train one stage. A second start with the same workdir resumes.")
    add_config(parser)
    parser.add_argument("--workdir", required=True, help="folder of checkpoints, logs and weights")
    args, config = parse_with_config(parser, argv)
    with compilations_kept():
        train(config, Path(args.workdir))


def train(config: ConfigDict, workdir: Path) -> TrainState:
    """Train the stage that `config` describes in `workdir` and write its weights file."""
    check(config)
    check_files(config)
    check_writable(workdir)
    check_free(workdir)
    check_workdir(workdir / "checkpoints", config.to_dict())
    print(hosts.start(), flush=True)
    source = build_source(config.data)
    loader = build_loader(config, source)
    stage = build_stage(config)
    mesh = make_mesh()
    trainable, frozen = split_params(stage.params, config.train.rules)
    frozen = replicate(cast_frozen(frozen, config.train.precision), mesh)
    training = build_training(config, stage.objective)
    keep_ema = config.train.ema_decay is not None
    state = replicate(create_state(trainable, training.optimiser, ema=keep_ema), mesh)
    update = Update(
        step=training.step,
        frozen=frozen,
        root_key=jax.random.key(config.seed),
        place=lambda batch: shard_batch(batch, mesh, stage.objective.needs),
        batch_size=config.train.batch_size,
    )
    timetable = Timetable(
        total_steps=config.train.total_steps,
        log_every=config.train.log_every,
        save_every=config.checkpoint.every,
        sample_every=config.train.sample_every,
        stop_after_minutes=config.train.stop_after_minutes,
    )
    with owned(workdir), closing(loader):
        checkpoints = Checkpoints(
            workdir / "checkpoints",
            config=config.to_dict(),
            backbones=stage.backbones,
            keep=config.checkpoint.keep,
        )
        with closing(checkpoints):
            hook = _preview_hook(config, stage, source, frozen, workdir)
            state = fit(
                update,
                state,
                loader,
                timetable,
                str(workdir),
                checkpoints=checkpoints,
                sample_hook=hook,
            )
        if int(state.step) == 0:
            raise InputError(
                f"train.stop_after_minutes={config.train.stop_after_minutes} is over before the "
                "first step: nothing was learned and no weights are written; give it more"
            )
        if hosts.is_main():
            stage.export(workdir / WEIGHTS, _whole(state, frozen), int(state.step), source)
            print(f"{workdir / WEIGHTS}: the weights after step {int(state.step)}", flush=True)
    return state


def _whole(state: TrainState, frozen: PyTree) -> PyTree:
    """The tree that samples are made with, of this process: the moving average if there is one."""
    trained = state.params if state.ema is None else state.ema
    return local(paths.merge(trained, frozen))


def _preview_hook(config: ConfigDict, stage: Stage, source: Source, frozen: PyTree, workdir: Path):
    def hook(state: TrainState, step: int, log: MetricsLog) -> None:
        if not hosts.is_main():
            return
        frames = stage.preview(_whole(state, frozen), source, config.sampling.num_videos)
        write_sheet(workdir / "samples" / f"{step:08}.png", frames, np.zeros((len(frames), 0)))
        log.videos(step, "samples", frames, fps=float(config.data.fps))

    return hook
