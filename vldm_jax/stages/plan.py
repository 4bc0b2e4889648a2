"""A run on shapes: all that can be wrong with it, looked at before data is read or a device used.

Checking a config is making its plan; training makes the same plan and goes on with it.
"""

import dataclasses
import functools
import re

import jax
from ml_collections import ConfigDict

from vldm_jax.checkpoint.weights import DTYPES
from vldm_jax.config.training import Training, build_training
from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.stages.base import Stage
from vldm_jax.stages.judge import check_evals
from vldm_jax.stages.table import make_stage
from vldm_jax.training.state import FROZEN, create_state, split_params
from vldm_jax.typing import PyTree


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Plan:
    """What a run will do.

    Attributes:
        config: the experiment.
        stage: what it trains.
        training: optimiser and step.
        trained: paths of the parameters that the rules train.
    """

    config: ConfigDict
    stage: Stage
    training: Training
    trained: tuple[str, ...]


def make_plan(config: ConfigDict) -> Plan:
    """Return the plan of a run, from its config alone; `plan.stage.files` then opens the files.

    Raises:
        InputError: naming the first thing that does not fit.
    """
    stage = make_stage(config)
    if config.checkpoint.weights_dtype not in DTYPES:
        raise InputError(
            f"config.checkpoint.weights_dtype={config.checkpoint.weights_dtype!r}: "
            f"choose one of {tuple(DTYPES)}"
        )
    check_evals(stage)
    shapes = stage.shapes()
    training = build_training(config, stage)
    trainable, _ = split_params(shapes, config.train.rules)
    _check_reach(stage, shapes)
    ema = config.train.ema_decay is not None
    jax.eval_shape(functools.partial(create_state, tx=training.optimiser, ema=ema), trainable)
    return Plan(
        config=config, stage=stage, training=training, trained=tuple(paths.flatten(trainable))
    )


def check_rules(plan: Plan, given: PyTree) -> None:
    """Raise for a rule that freezes nothing: what it means to keep would be trained.

    `make_plan` looks at those that train; of what comes from files, it does not know the paths.

    Args:
        plan: of the run.
        given: what `plan.stage.given` returns.

    Raises:
        InputError: naming the rule.
    """
    everything = [*paths.flatten(plan.stage.shapes()), *paths.flatten(given)]
    for pattern, group in _own_rules(plan.stage):
        if not any(re.search(pattern, path) for path in everything):
            raise InputError(_matches_nothing(pattern, group))


def _check_reach(stage: Stage, shapes: PyTree) -> None:
    """Raise if a rule means to train what no loss reaches, and that alone."""
    reached, given = list(paths.flatten(shapes)), stage.given_names
    for pattern, group in _own_rules(stage):
        if group == FROZEN or any(re.search(pattern, path) for path in reached):
            continue
        if any(re.search(pattern, f"{name}/") for name in given):
            raise InputError(
                f"config.train.rules: {(pattern, group)} would train {', '.join(given)}, which "
                "this stage's loss does not reach; those parameters stay as they are"
            )
        raise InputError(_matches_nothing(pattern, group))


def _own_rules(stage: Stage) -> paths.Rules:
    """Return the rules that the base has not; its speak of layers that a network may lack."""
    usual = stage.base().train.rules
    return tuple(rule for rule in stage.config.train.rules if rule not in usual)


def _matches_nothing(pattern: str, group: str) -> str:
    return (
        f"config.train.rules: {(pattern, group)} matches no parameter that this stage "
        f"{'has' if group == FROZEN else 'trains'}: correct the expression or leave the rule out"
    )
