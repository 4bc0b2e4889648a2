"""A run up to its first step: its data opened, its parameters on the devices."""

import dataclasses

import jax

from vldm_jax.config.data import build_loader, build_source
from vldm_jax.core.rng import stream
from vldm_jax.data.pipeline import Loader, Source
from vldm_jax.parallel import hosts
from vldm_jax.parallel.mesh import make_mesh, replicate, shard_batch
from vldm_jax.stages.plan import Plan
from vldm_jax.training.precision import cast_frozen
from vldm_jax.training.state import TrainState, create_state, split_params
from vldm_jax.training.step import Update


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Prepared:
    """What the loop goes on with.

    Attributes:
        source: the examples.
        loader: endless batches of them; to be closed.
        update: what a step is.
        state: the state before the first one.
    """

    source: Source
    loader: Loader
    update: Update
    state: TrainState


def prepare(plan: Plan) -> Prepared:
    """Open the files and the data of a run, make or read its parameters and place them.

    Raises:
        InputError: if a weights file or the data does not fit; what is fast to see comes first.
    """
    config, stage = plan.config, plan.stage
    _ = stage.files
    stage.check_data()
    print(hosts.start(), flush=True)
    source = build_source(config.data)
    loader = build_loader(config, source)
    mesh = make_mesh()
    params = stage.init(stream(jax.random.key(config.seed), "init"))
    trainable, frozen = split_params(params, config.train.rules)
    frozen = replicate(cast_frozen(frozen | stage.given(), config.train.precision), mesh)
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
    return Prepared(source=source, loader=loader, update=update, state=state)
