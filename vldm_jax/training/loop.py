"""The loop around the step: the one long function, because it is the story of a run.

    restore -> [ batch -> dispatch step n -> look at step n-1 -> log, save, sample, evaluate ]

The device works on step n while the host looks at the figures of step n-1 and decodes batch n+1. A
state is saved only after its own figures were seen to be finite.
"""

import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import jax

from vldm_jax.core.errors import InputError
from vldm_jax.core.signals import Stopped
from vldm_jax.training.interval import Interval
from vldm_jax.training.metrics import MetricsLog
from vldm_jax.training.progress import Progress
from vldm_jax.training.state import TrainState
from vldm_jax.training.step import Batch, Update
from vldm_jax.training.stopping import StopRequest, check_finite
from vldm_jax.training.timetable import Timetable

Hook = Callable[[TrainState, int, MetricsLog], None]


def fit(
    update: Update,
    state: TrainState,
    loader: Any,
    timetable: Timetable,
    workdir: str,
    *,
    checkpoints: Any = None,
    sample_hook: Hook | None = None,
    evaluate_hook: Hook | None = None,
    tensorboard: bool = True,
) -> TrainState:
    """Train until all steps are done, time is up or a signal comes; return the state.

    Args:
        update: what a step is; compiled here.
        state: initial state, placed on the devices; the newest checkpoint, if any, replaces it.
        loader: iterator over batches of NumPy arrays, endless; with `get_state` and `set_state` if
            there are checkpoints.
        timetable: when to log, save, sample, evaluate and end.
        workdir: folder of the logs.
        checkpoints: a `checkpoint.manager.Checkpoints`, or None to save nothing.
        sample_hook: (state, step, log) -> None; must not keep the state's arrays.
        evaluate_hook: the same, called when an evaluation is due, and for a resumed state whose
            figures are not in the log.
        tensorboard: whether to write TensorBoard events.

    Raises:
        Stopped: if a signal came before the last step, once the state is saved.
        NonFiniteError: if loss, gradient or update stop being finite.
        InputError: if the loader ends or fails, once the state is saved; if the workdir holds
            another run.
    """
    carried = None
    if checkpoints is not None:
        state, carried = checkpoints.resume(state, loader)
    n = saved = int(state.step)
    interval, compiled, pending, reason = Interval(carried), None, None, None

    def look() -> None:
        if pending is not None:
            step, metrics = pending
            check_finite(step, interval.add(metrics), saved or None)

    def save() -> None:
        nonlocal saved
        if checkpoints is not None:
            checkpoints.save(n, state, loader, interval.state())
            saved = n

    with (
        closing(MetricsLog(workdir, n, tensorboard=tensorboard)) as log,
        closing(Progress(timetable.total_steps, n, update.shown)) as progress,
        StopRequest(timetable.stop_after_minutes, progress.say) as stop,
    ):
        missed = n > 0 and timetable.due(n, stopping=False).evaluate and not log.evaluated
        if missed and evaluate_hook is not None:  # killed in it, after the state was saved
            with interval.clock.paused():
                evaluate_hook(state, n, log)
        while n < timetable.total_steps and reason is None:
            try:
                with interval.clock.waiting():
                    batch = update.place(_next(loader, n))
            except InputError:  # keep what was learned; several processes cannot agree to any more
                if n > saved and jax.process_count() == 1:
                    look()
                    save()
                raise
            if compiled is None:
                with interval.clock.paused():
                    compiled = _compile(update, state, batch, progress)
                if reason := stop.reason(n):
                    break
            state, metrics = compiled(state, batch)
            n += 1
            look()
            pending = (n, metrics)
            progress.advance(n)
            reason = stop.reason(n)
            due = timetable.due(n, stopping=reason is not None, hurried=stop.signal is not None)
            if any(due):
                look()
                pending = None
            if due.log:
                values = interval.figures() | {"seen_videos": float(n * update.batch_size)}
                log.scalars(n, values)
                progress.show(values)
                if n % timetable.log_every == 0:  # a record at the end leaves its interval open
                    interval = Interval()
            with interval.clock.paused():
                if due.save:
                    save()
                if due.sample and sample_hook is not None:
                    sample_hook(state, n, log)
                if due.evaluate and evaluate_hook is not None:
                    evaluate_hook(state, n, log)
        if reason is not None:
            progress.say(f"stopped by {reason} after step {n} of {timetable.total_steps}")
        if checkpoints is not None:
            checkpoints.wait()
    if stop.signal is not None and n < timetable.total_steps:
        raise Stopped(stop.signal)
    return state


def _next(loader: Any, step: int) -> dict[str, Any]:
    try:
        return next(loader)
    except StopIteration:
        raise InputError(
            f"the training data ended after step {step}: the loader must repeat; "
            "check that it has at least one full batch"
        ) from None
    except InputError:
        raise
    except Exception as error:  # whatever reads the data, in this process or a worker that died
        reason = " ".join(str(error).split()) or "no reason given"
        raise InputError(
            f"the training data cannot be read after step {step} ({type(error).__name__}: "
            f"{reason}): mend the data or its workers; the same command goes on from there"
        ) from error


def _compile(update: Update, state: TrainState, batch: Batch, progress: Progress) -> Callable:
    progress.say("compiling the training step, which a first Ctrl-C does not interrupt ...")
    begun = time.monotonic()
    compiled = update.compile(state, batch)
    progress.say(f"compiled the training step in {time.monotonic() - begun:.0f} s")
    return compiled
