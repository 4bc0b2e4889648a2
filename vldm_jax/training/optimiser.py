"""One optax chain from the rule list.

    clip by global norm -> Adam moments -> + decay * params -> * group's multiplier -> * -lr(step)

The labels that split the parameters also choose, group by group, a multiplier of the learning rate
and of the weight decay: `groups = {"temporal": (1.0, 1.0), "mix": (10.0, 0.0)}`. The group "frozen"
never reaches the optimiser. The gradient norm is taken over all trained groups together.
"""

from collections.abc import Callable, Mapping

import optax

from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.training.state import FROZEN
from vldm_jax.typing import PyTree

Groups = Mapping[str, tuple[float, float]]
OPTIMISERS = ("adamw", "adam")
SCHEDULES = ("constant", "cosine")


def make_schedule(
    *, lr: float, warmup_steps: int, schedule: str, total_steps: int
) -> optax.Schedule:
    """Return the learning rate of a step: linear warm-up from 0, then constant or a half cosine.

    The cosine ends at 0 at `total_steps`.

    Raises:
        InputError: if the schedule is unknown, or a cosine is shorter than its warm-up.
    """
    if schedule not in SCHEDULES:
        raise InputError(f"optim.schedule={schedule!r}: choose one of {SCHEDULES}")
    if schedule == "constant":
        return optax.warmup_constant_schedule(0.0 if warmup_steps else lr, lr, warmup_steps)
    if total_steps <= warmup_steps:
        raise InputError(
            f"optim.schedule='cosine' needs train.total_steps > optim.warmup_steps, "
            f"got {total_steps} <= {warmup_steps}: lower the warm-up, or use "
            "train.stop_after_minutes for a short look"
        )
    start = 0.0 if warmup_steps else lr
    return optax.warmup_cosine_decay_schedule(start, lr, warmup_steps, total_steps)


def make_optimiser(
    *,
    rules: paths.Rules,
    groups: Groups,
    learning_rate: Callable,
    name: str = "adamw",
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    clip_norm: float | None = 1.0,
) -> optax.GradientTransformation:
    """Return the optimiser of the trained parameters.

    Args:
        rules: (regex, group) list, the one that splits the parameters.
        groups: {group: (learning-rate multiplier, weight-decay multiplier)} of every trained group.
        learning_rate: schedule from `make_schedule`.
        name: "adamw", or "adam", which takes no weight decay.
        betas: decay rates of the two moments.
        eps: added to the root of the second moment.
        weight_decay: decoupled decay, multiplied by the learning rate and the group's factor.
        clip_norm: largest global gradient norm, None for no clipping.

    Raises:
        InputError: if a group has no multipliers, or the name does not fit the weight decay.
    """
    if name not in OPTIMISERS:
        raise InputError(f"optim.name={name!r}: choose one of {OPTIMISERS}")
    if name == "adam" and weight_decay:
        raise InputError(
            f"optim.name='adam' takes no {weight_decay=}: choose 'adamw' or set it to 0"
        )
    missing = sorted({group for _, group in rules} - {FROZEN} - set(groups))
    if missing:
        raise InputError(
            f"train.groups lacks {missing[0]!r}, which train.rules names: "
            "add its (learning-rate multiplier, weight-decay multiplier)"
        )

    def labels(tree: PyTree) -> PyTree:
        return paths.label(tree, rules)

    per_group = {
        group: optax.chain(
            optax.add_decayed_weights(weight_decay * decay)
            if weight_decay * decay
            else optax.identity(),
            optax.scale(multiplier),
        )
        for group, (multiplier, decay) in groups.items()
    }
    return optax.chain(
        optax.identity() if clip_norm is None else optax.clip_by_global_norm(clip_norm),
        optax.scale_by_adam(b1=betas[0], b2=betas[1], eps=eps),
        optax.partition(per_group, labels),
        optax.scale_by_learning_rate(learning_rate),
    )
