"""`vldm train`: one stage from its config; a second start resumes.

The order of what happens is the order of this file: everything that can be wrong is looked at
before anything slow starts.
"""

import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from ml_collections import ConfigDict

from vldm_jax.checkpoint.configs import canonical
from vldm_jax.checkpoint.manager import Checkpoints, check_workdir
from vldm_jax.checkpoint.owner import check_free, owned
from vldm_jax.checkpoint.weights import WEIGHTS
from vldm_jax.cli.dry_run import dry_run
from vldm_jax.cli.evaluations import Evaluations
from vldm_jax.cli.flags import Parser, add_config, folder, parse_with_config
from vldm_jax.cli.output import write_sheet
from vldm_jax.cli.prepare import Prepared, prepare
from vldm_jax.cli.run_config import CONFIG
from vldm_jax.config.training import build_timetable
from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import check_writable, write_json
from vldm_jax.evals.best import FOLDER as BEST
from vldm_jax.evals.best import Best
from vldm_jax.parallel import hosts
from vldm_jax.parallel.compilation import compilations_kept
from vldm_jax.parallel.mesh import local
from vldm_jax.stages.plan import Plan, make_plan
from vldm_jax.training.loop import Hook, fit
from vldm_jax.training.metrics import MetricsLog
from vldm_jax.training.state import TrainState
from vldm_jax.typing import PyTree


def run(argv: Sequence[str]) -> None:
    """Parse the flags and train."""
    parser = Parser("train", "Train one stage. A second start with the same workdir resumes.")
    add_config(parser)
    where = parser.add_mutually_exclusive_group(required=True)
    help_workdir = "folder of checkpoints, logs and weights"
    where.add_argument("--workdir", type=folder, help=help_workdir)
    help_dry = "take a few steps, tell memory and time of the run, write nothing but caches"
    where.add_argument("--dry-run", action="store_true", help=help_dry)
    args, config = parse_with_config(parser, argv)
    with compilations_kept():
        if args.dry_run:
            dry_run(config)
        else:
            train(config, args.workdir)


def train(config: ConfigDict, workdir: Path) -> TrainState:
    """Train the stage that `config` describes in `workdir` and write its weights file."""
    plan = make_plan(config)
    check_writable(workdir)
    check_free(workdir)
    check_workdir(workdir / "checkpoints", config.to_dict())
    run = prepare(plan)
    with owned(workdir), closing(run.loader):
        checkpoints = Checkpoints(
            workdir / "checkpoints",
            config=config.to_dict(),
            backbones={
                file.path: file.sha256 for key, file in plan.stage.files.items() if key != "init"
            },
            inputs=plan.stage.hashes(),
            keep=config.checkpoint.keep,
        )
        with closing(checkpoints):
            evaluations = _evaluations(plan, run, workdir)
            state = fit(
                run.update,
                run.state,
                run.loader,
                build_timetable(config),
                str(workdir),
                checkpoints=checkpoints,
                sample_hook=_preview_hook(plan, run, workdir),
                evaluate_hook=evaluations,
            )
        if int(state.step) == 0:
            raise InputError(
                f"train.stop_after_minutes={config.train.stop_after_minutes} is over before the "
                "first step: nothing was learned and no weights are written; give it more"
            )
        if hosts.is_main():
            whole = to_export(state, run)
            plan.stage.export(workdir / WEIGHTS, whole, plan.trained, int(state.step), run.source)
            print(f"{workdir / WEIGHTS}: the weights after step {int(state.step)}", flush=True)
        if evaluations is not None and (line := evaluations.summary()):
            print(line, file=sys.stderr, flush=True)
    return state


def to_export(state: TrainState, run: Prepared) -> PyTree:
    """Return the tree that is exported: what was frozen is, to the bit, what it was before."""
    return paths.unflatten(paths.flatten(_whole(state, run.update.frozen)) | run.exact)


def _whole(state: TrainState, frozen: PyTree) -> PyTree:
    """The tree that samples are made with, of this process: the moving average if there is one."""
    trained = state.params if state.ema is None else state.ema
    return local(paths.merge(trained, frozen))


def _preview_hook(plan: Plan, run: Prepared, workdir: Path) -> Hook:
    config = plan.config

    def hook(state: TrainState, step: int, log: MetricsLog) -> None:
        if not hosts.is_main():
            return
        params = _whole(state, run.update.frozen)
        count = config.sampling.num_videos
        frames = plan.stage.preview(params, run.source, count)
        captions = plan.stage.preview_captions(run.source, count) or [""] * len(frames)
        write_sheet(workdir / "samples" / f"{step:08}.png", frames, captions)
        log.videos(step, "samples", frames, fps=float(config.data.fps))

    return hook


def _evaluations(plan: Plan, run: Prepared, workdir: Path) -> Evaluations | None:
    """Return what evaluates; None if nothing is to be evaluated."""
    config, judge = plan.config, run.judge
    if judge is None:
        return None
    name = config.evals.keep_best

    def write(folder: Path, state: TrainState, step: int) -> None:
        whole = to_export(state, run)
        plan.stage.export(folder / WEIGHTS, whole, plan.trained, step, run.source)
        write_json(folder / CONFIG, canonical(config.to_dict()))

    return Evaluations(
        lambda state, step: judge(_whole(state, run.update.frozen), step, workdir),
        None if name is None else Best(workdir / BEST, name),
        write,
    )
