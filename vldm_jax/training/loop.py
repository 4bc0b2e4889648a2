"""The loop around the step: the one long function, because it is the story of a run.

    restore -> [ batch -> dispatch step n -> look at step n-1 -> log, save, sample ] -> save

The device works on step n while the host looks at the figures of step n-1 and decodes batch n+1. A
state is saved only after its own figures were seen to be finite.
"""

import time
from collections.abc import Callable
from typing import Any

from vldm_jax.core.errors import InputError
from vldm_jax.training.metrics import Averages, MetricsLog
from vldm_jax.training.progress import Progress
from vldm_jax.training.state import TrainState
from vldm_jax.training.step import Step, compile_step
from vldm_jax.training.stopping import StopRequest, check_finite
from vldm_jax.typing import Key, PyTree


def fit(
    *,
    step: Step,
    state: TrainState,
    frozen: PyTree,
    loader: Any,
    root_key: Key,
    total_steps: int,
    batch_size: int,
    place_batch: Callable[[dict[str, Any]], dict[str, Any]],
    workdir: str,
    checkpoints: Any = None,
    log_every: int = 50,
    checkpoint_every: int = 1000,
    sample_every: int | None = None,
    sample_hook: Callable[[TrainState, int, MetricsLog], None] | None = None,
    stop_after_minutes: float | None = None,
    tensorboard: bool = True,
) -> TrainState:
    """Train until `total_steps` updates are done, a signal comes or time is up; return the state.

    Args:
        step: from `make_step`; compiled here.
        state: initial state, placed on the devices; the newest checkpoint, if any, replaces it.
        frozen: the frozen parameters, placed on the devices.
        loader: iterator over batches of NumPy arrays, endless; with `get_state` and `set_state` if
            there are checkpoints.
        root_key: `jax.random.key(seed)`.
        total_steps: the step at which the run is complete.
        batch_size: clips or images a step over all processes, for the metric `seen_videos`.
        place_batch: host batch -> device batch, `parallel.mesh.shard_batch` with mesh and keys.
        workdir: folder of the logs.
        checkpoints: a `checkpoint.manager.Checkpoints`, or None to save nothing.
        log_every: steps between two records of metrics, which are means over the interval.
        checkpoint_every: steps between two checkpoints; the last state is always saved.
        sample_every: steps between two calls of `sample_hook`.
        sample_hook: (state, step, log) -> None; must not keep the state's arrays.
        stop_after_minutes: time limit of this call, compilation included.
        tensorboard: whether to write TensorBoard events.

    Raises:
        NonFiniteError: if loss, gradient or update stop being finite.
        InputError: if the loader ends early, or the workdir holds another run.
    """
    if checkpoints is not None:
        state = checkpoints.resume(state, loader)
    compiled = compile_step(step, state)
    n = int(state.step)
    log, progress = MetricsLog(workdir, n, tensorboard=tensorboard), Progress(total_steps, n)
    averages, pending = Averages(), None
    last_saved = n if n > 0 and checkpoints is not None else None
    waited, logged_at, since, compile_seconds = 0.0, n, time.monotonic(), None

    def look(pending: tuple[int, dict[str, Any]] | None) -> None:
        if pending is not None:
            number, metrics = pending
            check_finite(number, averages.add(metrics), last_saved)

    if n > 0:
        progress.say(f"resumed from step {n}")
    try:
        with StopRequest(stop_after_minutes) as stop:
            reason = stop.reason(n)
            while n < total_steps and reason is None:
                asked = time.monotonic()
                batch = place_batch(_next(loader, n))
                waited += time.monotonic() - asked
                dispatched = time.monotonic()
                state, metrics = compiled(state, frozen, batch, root_key)
                if compile_seconds is None:
                    compile_seconds = time.monotonic() - dispatched
                    progress.say(f"compiled the training step in {compile_seconds:.0f} s")
                    since += compile_seconds
                n += 1
                look(pending)
                pending = (n, metrics)
                progress.advance(n)
                reason = stop.reason(n)
                last = n == total_steps or reason is not None
                log_due = last or n % log_every == 0
                save_due = checkpoints is not None and (last or n % checkpoint_every == 0)
                sample_due = sample_hook is not None and (
                    n == total_steps or (sample_every and n % sample_every == 0)
                )
                if log_due or save_due or sample_due:
                    look(pending)
                    pending = None
                if log_due:
                    steps = n - logged_at
                    values = averages.take() | {
                        "step_seconds": (time.monotonic() - since) / steps,
                        "loader_wait_seconds": waited / steps,
                        "seen_videos": float(n * batch_size),
                    }
                    log.scalars(n, values)
                    progress.show(values)
                    waited, logged_at, since = 0.0, n, time.monotonic()
                paused = time.monotonic()
                if save_due:
                    checkpoints.save(n, state, loader)
                    last_saved = n
                if sample_due:
                    sample_hook(state, n, log)
                since += time.monotonic() - paused
            if reason is not None:
                progress.say(f"stopped by {reason} after step {n} of {total_steps}")
        if checkpoints is not None:
            checkpoints.wait()
    finally:
        log.close()
        progress.close()
    return state


def _next(loader: Any, step: int) -> dict[str, Any]:
    try:
        return next(loader)
    except StopIteration:
        raise InputError(
            f"the training data ended after step {step}: the loader must repeat; "
            "check that it has at least one full batch"
        ) from None
