"""One update, as a pure function of (state, frozen parameters, batch, root key).

    g = d/dtrainable  loss(merge(trainable, frozen), batch, key(step))                        (1)
    params <- params + optimiser(g),    ema <- average of params                              (2)

The derivative (1) is taken with respect to the trainable tree alone: for a frozen layer the
compiled program holds no weight gradient, only what must pass through it to reach a trained one.
With `accumulate = a` the batch is cut into `a` microbatches that run one after the other
(`lax.scan`) and whose gradients are averaged: the big batch's gradient with the memory of a small
one.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.core.rng import stream
from vldm_jax.training import ema as averages
from vldm_jax.training.objective import Objective
from vldm_jax.training.state import TrainState
from vldm_jax.typing import Key, PyTree

Batch = dict[str, Any]
Step = Callable[[TrainState, PyTree, Batch, Key], tuple[TrainState, dict[str, Any]]]


def make_step(
    objective: Objective,
    tx: optax.GradientTransformation,
    *,
    learning_rate: Callable,
    ema_decay: float | None = None,
    accumulate: int = 1,
) -> Step:
    """Return the step function; `compile_step` compiles it.

    Args:
        objective: what to minimise.
        tx: optimiser of the trainable tree.
        learning_rate: the optimiser's schedule, for the metric `lr`.
        ema_decay: decay of the moving average; None if the state has none.
        accumulate: number of microbatches; must divide the batch.
    """

    def step(
        state: TrainState, frozen: PyTree, batch: Batch, root_key: Key
    ) -> tuple[TrainState, dict[str, Any]]:
        def loss(trainable: PyTree, part: Batch, key: Key) -> tuple[Any, dict[str, Any]]:
            value, metrics = objective.loss(paths.merge(trainable, frozen), part, key, state.step)
            return value, {"loss": value, **metrics}

        key = stream(root_key, "objective", state.step)
        grads, metrics = _gradient(loss, state.params, batch, key, accumulate)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema = None
        if ema_decay is not None:
            decay = averages.decay_at(ema_decay, state.step)
            ema = averages.update(state.ema, params, decay)
        metrics |= {
            "grad_norm": optax.tree.norm(grads),
            "update_norm": optax.tree.norm(updates),
            "lr": jnp.asarray(learning_rate(state.step), jnp.float32),
        }
        return TrainState(state.step + 1, params, opt_state, ema), metrics

    return step


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Update:
    """All that turns a state and a batch into the next state.

    Attributes:
        step: from `make_step`.
        frozen: the frozen parameters, placed on the devices.
        root_key: `jax.random.key(seed)`.
        place: host batch -> device batch, `parallel.mesh.shard_batch` with mesh and keys.
        batch_size: clips or images a step over all processes, for the metric `seen_videos`.
        shown: names of the metrics that the console shows.
    """

    step: Step
    frozen: PyTree
    root_key: Key
    place: Callable[[dict[str, Any]], Batch]
    batch_size: int
    shown: tuple[str, ...] = ("loss",)

    def compile(self, state: TrainState, batch: Batch) -> Callable[[TrainState, Batch], tuple]:
        """Return (state, batch) -> (state, metrics), compiled for what these are and where."""
        program = self.program(state, batch)
        return lambda state, batch: program(state, self.frozen, batch, self.root_key)

    def program(self, state: TrainState, batch: Batch) -> jax.stages.Compiled:
        """Return the compiled step itself, which knows the memory that it needs."""
        lowered = compile_step(self.step, state).lower(state, self.frozen, batch, self.root_key)
        return lowered.compile()


def compile_step(step: Step, state: TrainState) -> Step:
    """Return the step compiled for where `state` lies; the state's buffers are given away.

    The new state keeps the old one's shardings, so the second call finds what the first compiled.
    """
    shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
    return jax.jit(step, donate_argnums=0, out_shardings=(shardings, None))


def check_batch(batch_size: int, accumulate: int, devices: int) -> None:
    """Raise unless every device gets as many examples of every microbatch.

    Where it does not divide, XLA fills the devices up with copies, which cost as much as examples
    do, and says nothing.

    Args:
        batch_size: examples a step over all processes.
        accumulate: number of microbatches.
        devices: size of the mesh's axis "data", over all processes.

    Raises:
        InputError: naming the batch sizes next to it that would do.
    """
    unit = accumulate * devices
    if batch_size % unit == 0:
        return
    below, above = batch_size // unit * unit, (batch_size // unit + 1) * unit
    microbatches = f" in {accumulate} microbatches (optim.accumulate)" if accumulate > 1 else ""
    raise InputError(
        f"train.batch_size={batch_size} does not divide over {devices} devices{microbatches}: "
        f"choose a multiple of {unit}, {f'{below} or ' if below else ''}{above}"
    )


def _gradient(
    loss: Callable, params: PyTree, batch: Batch, key: Key, accumulate: int
) -> tuple[PyTree, dict[str, Any]]:
    gradient = jax.grad(loss, has_aux=True)
    if accumulate == 1:
        return gradient(params, batch, key)

    def add(total: PyTree, part: tuple[Batch, Key]) -> tuple[PyTree, dict[str, Any]]:
        grads, metrics = gradient(params, *part)
        return jax.tree.map(jnp.add, total, grads), metrics

    parts = jax.tree.map(lambda array: _microbatches(array, accumulate), batch)
    zeros = jax.tree.map(jnp.zeros_like, params)
    total, metrics = jax.lax.scan(add, zeros, (parts, jax.random.split(key, accumulate)))
    return (
        jax.tree.map(lambda leaf: leaf / accumulate, total),
        jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), metrics),
    )


def _microbatches(array: jax.Array, accumulate: int) -> jax.Array:
    size = array.shape[0]
    if size % accumulate:
        raise ValueError(f"the batch of {size} is not divisible by optim.accumulate={accumulate}")
    # Strided, not contiguous: every device's share of the batch has its share of each microbatch.
    return array.reshape(size // accumulate, accumulate, *array.shape[1:]).swapaxes(0, 1)
