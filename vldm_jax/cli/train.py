"""`vldm train`: one stage from its config; a second start resumes.

The order of what happens is the order of this file: everything that can be wrong is looked at
before anything slow starts.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import jax
from ml_collections import ConfigDict

from vldm_jax.checkpoint.manager import Checkpoints, check_workdir
from vldm_jax.checkpoint.owner import check_free, owned
from vldm_jax.checkpoint.weights import WEIGHTS
from vldm_jax.cli.flags import Parser, add_config, folder, parse_with_config
from vldm_jax.cli.output import write_sheet
from vldm_jax.config.data import build_loader, build_source
from vldm_jax.config.training import build_timetable
from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import check_writable
from vldm_jax.core.rng import stream
from vldm_jax.data.pipeline import Source
from vldm_jax.parallel import hosts
from vldm_jax.parallel.compilation import compilations_kept
from vldm_jax.parallel.mesh import local, make_mesh, replicate, shard_batch
from vldm_jax.stages.plan import Plan, make_plan
from vldm_jax.training.loop import fit
from vldm_jax.training.metrics import MetricsLog
from vldm_jax.training.precision import cast_frozen
from vldm_jax.training.state import TrainState, create_state, split_params
from vldm_jax.training.step import Update
from vldm_jax.typing import PyTree


def run(argv: Sequence[str]) -> None:
    """Parse the flags and train."""
    parser = Parser("train", "Train one stage. A second start with the same workdir resumes.")
    add_config(parser)
    help_workdir = "folder of checkpoints, logs and weights"
    parser.add_argument("--workdir", type=folder, required=True, help=help_workdir)
    args, config = parse_with_config(parser, argv)
    with compilations_kept():
        train(config, args.workdir)


def train(config: ConfigDict, workdir: Path) -> TrainState:
    """Train the stage that `config` describes in `workdir` and write its weights file."""
    plan = make_plan(config)
    stage, files = plan.stage, plan.stage.files
    stage.check_data()
    check_writable(workdir)
    check_free(workdir)
    check_workdir(workdir / "checkpoints", config.to_dict())
    print(hosts.start(), flush=True)
    source = build_source(config.data)
    loader = build_loader(config, source)
    mesh = make_mesh()
    params = stage.init(stream(jax.random.key(config.seed), "init"))
    trainable, frozen = split_params(params, config.train.rules)
    frozen = replicate(cast_frozen(frozen | stage.given(), config.train.precision), mesh)
    keep_ema = config.train.ema_decay is not None
    state = replicate(create_state(trainable, plan.training.optimiser, ema=keep_ema), mesh)
    update = Update(
        step=plan.training.step,
        frozen=frozen,
        root_key=jax.random.key(config.seed),
        place=lambda batch: shard_batch(batch, mesh, stage.needs),
        batch_size=config.train.batch_size,
        shown=stage.shown,
    )
    with owned(workdir), closing(loader):
        checkpoints = Checkpoints(
            workdir / "checkpoints",
            config=config.to_dict(),
            backbones={file.path: file.sha256 for key, file in files.items() if key != "init"},
            keep=config.checkpoint.keep,
        )
        with closing(checkpoints):
            state = fit(
                update,
                state,
                loader,
                build_timetable(config),
                str(workdir),
                checkpoints=checkpoints,
                sample_hook=_preview_hook(plan, source, frozen, workdir),
            )
        if int(state.step) == 0:
            raise InputError(
                f"train.stop_after_minutes={config.train.stop_after_minutes} is over before the "
                "first step: nothing was learned and no weights are written; give it more"
            )
        if hosts.is_main():
            whole = _whole(state, frozen)
            stage.export(workdir / WEIGHTS, whole, plan.trained, int(state.step), source)
            print(f"{workdir / WEIGHTS}: the weights after step {int(state.step)}", flush=True)
    return state


def _whole(state: TrainState, frozen: PyTree) -> PyTree:
    """The tree that samples are made with, of this process: the moving average if there is one."""
    trained = state.params if state.ema is None else state.ema
    return local(paths.merge(trained, frozen))


def _preview_hook(
    plan: Plan, source: Source, frozen: PyTree, workdir: Path
) -> Callable[[TrainState, int, MetricsLog], None]:
    config = plan.config

    def hook(state: TrainState, step: int, log: MetricsLog) -> None:
        if not hosts.is_main():
            return
        frames = plan.stage.preview(_whole(state, frozen), source, config.sampling.num_videos)
        write_sheet(workdir / "samples" / f"{step:08}.png", frames, [""] * len(frames))
        log.videos(step, "samples", frames, fps=float(config.data.fps))

    return hook
