"""How a run ends before its last step: a signal, a time limit, a figure that blew up."""

import math
import signal
import threading
import time
from collections.abc import Mapping
from types import FrameType
from typing import Any

import jax
from jax.experimental import multihost_utils

from vldm_jax.core.errors import InputError
from vldm_jax.parallel import hosts

WATCHED = ("loss", "grad_norm", "update_norm")


class NonFiniteError(InputError):
    """A loss, gradient or update is not a finite number; the run cannot go on from there."""


def check_finite(step: int, values: Mapping[str, float], last_saved: int | None) -> None:
    """Raise if a watched quantity of `step` is not finite.

    Args:
        step: the update that the values belong to, counted from 1.
        values: its metrics.
        last_saved: step of the newest checkpoint, for the message.

    Raises:
        NonFiniteError: naming the quantity and the step.
    """
    for name in WATCHED:
        if name in values and not math.isfinite(values[name]):
            saved = (
                "no checkpoint was written"
                if last_saved is None
                else (f"the newest checkpoint is that of step {last_saved}")
            )
            raise NonFiniteError(
                f"{name} is {values[name]} at step {step}; nothing of it was saved and {saved}: "
                "lower optim.lr, lengthen optim.warmup_steps, or look at the batch"
            )


class StopRequest:
    """Context in which SIGTERM, SIGINT and a time limit become a question asked between two steps.

    The first signal asks the run to save and leave; a second one has its usual effect.

    With several processes all give the same answer, and no handler is installed: SIGTERM belongs to
    jax's own, which a Python handler would replace. It tells the other processes, and jax names the
    step after which all of them leave. SIGINT has its usual effect there: the run ends at once,
    without a checkpoint.

    Args:
        after_minutes: time limit, counted from here; None for none.
    """

    def __init__(self, after_minutes: float | None = None) -> None:
        self._deadline = None if after_minutes is None else time.monotonic() + 60 * after_minutes
        self._signal: str | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        """Install the handlers, if alone (Python allows it in the main thread only)."""
        main = threading.current_thread() is threading.main_thread()
        if main and jax.process_count() == 1:
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        """Restore the handlers."""
        self._restore()

    def reason(self, step: int) -> str | None:
        """Return why the run should stop after `step`, or None. A collective: all must call it."""
        if jax.process_count() > 1:
            return self._agreed(step)
        if self._signal is not None:
            return self._signal
        return "the time limit" if self._late() else None

    def _agreed(self, step: int) -> str | None:
        if multihost_utils.reached_preemption_sync_point(step):
            return "SIGTERM"
        return "the time limit" if self._deadline and hosts.agree(self._late()) else None

    def _late(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signal = signal.Signals(number).name
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
