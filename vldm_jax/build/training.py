"""config.optim and config.train -> optimiser and step function."""

import dataclasses

import optax
from ml_collections import ConfigDict

from vldm_jax.training.objectives.base import Objective
from vldm_jax.training.optimiser import make_optimiser, make_schedule
from vldm_jax.training.step import Step, make_step


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Training:
    """What makes an update.

    Attributes:
        optimiser: of the trained parameters.
        step: one update, not yet compiled.
    """

    optimiser: optax.GradientTransformation
    step: Step


def build_optimiser(config: ConfigDict) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """Return optimiser and learning rate of an experiment.

    Raises:
        InputError: if the schedule, the optimiser or the groups do not fit.
    """
    optim, train = config.optim, config.train
    learning_rate = make_schedule(
        lr=optim.lr,
        warmup_steps=optim.warmup_steps,
        schedule=optim.schedule,
        total_steps=train.total_steps,
    )
    optimiser = make_optimiser(
        rules=train.rules,
        groups=train.groups.to_dict(),
        learning_rate=learning_rate,
        name=optim.name,
        betas=optim.betas,
        weight_decay=optim.weight_decay,
        clip_norm=optim.clip_norm,
    )
    return optimiser, learning_rate


def build_training(config: ConfigDict, objective: Objective) -> Training:
    """Return optimiser and step of an experiment.

    Raises:
        InputError: as `build_optimiser`.
    """
    optimiser, learning_rate = build_optimiser(config)
    step = make_step(
        objective,
        optimiser,
        learning_rate=learning_rate,
        ema_decay=config.train.ema_decay,
        accumulate=config.optim.accumulate,
    )
    return Training(optimiser=optimiser, step=step)
