"""What changes from step to step, and only that.

The parameters of a run are one tree, split once by the rule list: the trainable part lives in the
state, the frozen part is a separate argument of the step. So a frozen parameter has no gradient, no
moments, no moving average and no place in a checkpoint; nothing has to mask it away later.

The state holds no random key: every key is derived from (seed, stream name, step), see `core.rng`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.typing import PyTree

FROZEN = "frozen"


@struct.dataclass
class TrainState:
    """State of one run.

    Fields are annotated `Any`, because the same class also carries shape structs and shardings.

    Attributes:
        step: int32 scalar, the number of updates done.
        params: float32 tree of the trained parameters only.
        opt_state: the optimiser's state for `params`.
        ema: moving average of `params` (same structure), or None.
    """

    step: Any
    params: Any
    opt_state: Any
    ema: Any


def split_params(params: PyTree, rules: paths.Rules) -> tuple[PyTree, PyTree]:
    """Return (trainable, frozen): the union of all groups but "frozen", and that group.

    Raises:
        InputError: if a parameter is covered by no rule, or if nothing is left to train.
    """
    parts = paths.partition(params, rules)
    frozen = parts.pop(FROZEN, {})
    if not parts:
        raise InputError(f"the rules {rules!r} leave no parameter to train: all are {FROZEN!r}")
    return paths.merge(*parts.values()), frozen


def create_state(
    trainable: PyTree, tx: optax.GradientTransformation, *, ema: bool = True
) -> TrainState:
    """Return the state before the first update.

    The arrays are copies: the step gives its state's buffers away (donation), and the caller's tree
    and the average must not share them.

    Args:
        trainable: the trained parameters, cast to float32 (the master copy).
        tx: the optimiser.
        ema: whether to keep a moving average.
    """

    def build(trainable: PyTree) -> TrainState:
        params = jax.tree.map(lambda leaf: jnp.array(leaf, jnp.float32, copy=True), trainable)
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            opt_state=tx.init(params),
            ema=jax.tree.map(jnp.copy, params) if ema else None,
        )

    return jax.jit(build)(trainable)
