"""config.optim and config.train -> optimiser and step function."""

import dataclasses
import math
import re
from typing import Any

import optax
from ml_collections import ConfigDict

from vldm_jax.core.errors import InputError
from vldm_jax.training.objective import Objective
from vldm_jax.training.optimiser import make_optimiser, make_schedule
from vldm_jax.training.step import Step, make_step
from vldm_jax.training.timetable import Timetable


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
    if train.batch_size % optim.accumulate:
        raise InputError(
            f"config.train.batch_size={train.batch_size} must be divisible by "
            f"config.optim.accumulate={optim.accumulate}"
        )
    _check_rules(train.rules)
    _check_groups(train.groups)
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


def build_timetable(config: ConfigDict) -> Timetable:
    """Return when a run logs, saves, samples, evaluates and ends."""
    train = config.train
    return Timetable(
        total_steps=train.total_steps,
        log_every=train.log_every,
        save_every=config.checkpoint.every,
        sample_every=train.sample_every,
        evaluate_every=train.evaluate_every,
        stop_after_minutes=train.stop_after_minutes,
    )


def _check_rules(rules: Any) -> None:
    for rule in rules if isinstance(rules, tuple) else (rules,):
        pair = isinstance(rule, tuple) and len(rule) == 2
        if not pair or not all(isinstance(part, str) for part in rule):
            raise InputError(f"config.train.rules: {rule!r} is no (regular expression, group)")
        try:
            re.compile(rule[0])
        except re.error as error:
            raise InputError(
                f"config.train.rules: {rule[0]!r} is no regular expression ({error})"
            ) from error


def _check_groups(groups: ConfigDict) -> None:
    for name, pair in groups.items():
        numbers = isinstance(pair, tuple) and all(type(value) in (int, float) for value in pair)
        if not numbers or len(pair) != 2 or not all(0 <= value < math.inf for value in pair):
            raise InputError(
                f"config.train.groups.{name}={pair!r} must be two numbers of at least 0: "
                "multipliers of the learning rate and of the weight decay"
            )
