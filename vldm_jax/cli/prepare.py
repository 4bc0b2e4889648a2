"""A run up to its first step: its data opened, its parameters on the devices."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vldm_jax.config.data import build_loader, build_source
from vldm_jax.core import paths
from vldm_jax.core.rng import stream
from vldm_jax.data.pipeline import Loader, Source
from vldm_jax.parallel import hosts
from vldm_jax.parallel.mesh import make_mesh, replicate, shard_batch
from vldm_jax.stages.base import Stage
from vldm_jax.stages.judge import Judge
from vldm_jax.stages.plan import Plan, check_rules
from vldm_jax.training.precision import cast_frozen
from vldm_jax.training.state import TrainState, create_state, split_params
from vldm_jax.training.step import Update
from vldm_jax.typing import PyTree


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Prepared:
    """What the loop goes on with.

    Attributes:
        source: the examples.
        loader: endless batches of them; to be closed.
        update: what a step is.
        state: the state before the first one.
        judge: what evaluates it, in the process that does and if any is to; else None.
        exact: {path: array} of the frozen parameters that the stage exports, as they were before
            the precision rounded them; on the host.
    """

    source: Source
    loader: Loader
    update: Update
    state: TrainState
    judge: Judge | None
    exact: dict[str, Any]


def prepare(plan: Plan) -> Prepared:
    """Open the files and the data of a run, make or read its parameters and place them.

    Raises:
        InputError: if a weights file or the data does not fit; what is fast to see comes first.
    """
    config, stage = plan.config, plan.stage
    _ = stage.files
    stage.check_data()
    print(hosts.start(), flush=True)
    judges = config.train.evaluate_every is not None and hosts.is_main()
    if judge := Judge(stage) if judges else None:
        for note in judge.notes:
            print(f"every {config.train.evaluate_every} steps: {note}", flush=True)
    source = build_source(config.data)
    loader = build_loader(config, source)
    mesh = make_mesh()
    params = stage.init(stream(jax.random.key(config.seed), "init"))
    trainable, frozen = split_params(params, config.train.rules)
    given = stage.given()
    check_rules(plan, given)
    stored = cast_frozen(frozen | given, config.train.precision)
    exact = _rounded(stage, plan.trained, frozen, stored) if hosts.is_main() else {}
    frozen = replicate(stored, mesh)
    del stored, given
    keep_ema = config.train.ema_decay is not None
    update = Update(
        step=plan.training.step,
        frozen=frozen,
        root_key=jax.random.key(config.seed),
        place=lambda batch: shard_batch(batch, mesh, stage.needs),
        batch_size=config.train.batch_size,
        shown=stage.shown,
    )
    state = replicate(create_state(trainable, plan.training.optimiser, ema=keep_ema), mesh)
    return Prepared(
        source=source, loader=loader, update=update, state=state, judge=judge, exact=exact
    )


def _rounded(
    stage: Stage, trained: Sequence[str], frozen: PyTree, stored: PyTree
) -> dict[str, np.ndarray]:
    """Return what the stage exports of the frozen parameters that are stored rounded."""
    kept = paths.flatten(stored)

    def is_rounded(path: str, leaf: Any) -> bool:  # float16 is, in bfloat16, and in float32 not
        return jnp.promote_types(leaf.dtype, kept[path].dtype) != kept[path].dtype

    return {
        path: np.asarray(leaf)
        for path, leaf in paths.flatten(frozen).items()
        if stage.exports(path, trained) and is_rounded(path, leaf)
    }
