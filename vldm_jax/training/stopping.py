"""How a run ends before its last step: a signal, a time limit, a figure that blew up."""

import contextlib
import math
import signal
import time
from collections.abc import Callable, Mapping
from types import FrameType

import jax
from jax.experimental import multihost_utils

from vldm_jax.core.errors import InputError
from vldm_jax.core.signals import end_at_once, listening
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

    The first signal asks the run to save and leave, which is said at once; the second one ends the
    process at once, whatever it is doing: a compilation cannot be interrupted.

    With several processes all give the same answer, and nothing is installed: SIGTERM belongs to
    jax's own handler, which a Python handler would replace. It tells the other processes, and jax
    names the step after which all of them leave. SIGINT has its usual effect there: the run ends at
    once, without a checkpoint.

    Args:
        after_minutes: time limit, counted from here; None for none.
        say: what to print a line with.

    Attributes:
        signal: the signal that asked, or None.
    """

    def __init__(
        self, after_minutes: float | None = None, say: Callable[[str], None] = print
    ) -> None:
        self.signal: signal.Signals | None = None
        self._deadline = None if after_minutes is None else time.monotonic() + 60 * after_minutes
        self._say = say
        self._context = contextlib.ExitStack()

    def __enter__(self) -> "StopRequest":
        """Listen to the signals, if alone."""
        if jax.process_count() == 1:
            self._context.enter_context(listening(self._at_once, self._note))
        return self

    def __exit__(self, *exception: object) -> None:
        """Leave the signals to whoever had them."""
        self._context.close()

    def reason(self, step: int) -> str | None:
        """Return why the run should stop after `step`, or None. A collective: all must call it."""
        if jax.process_count() > 1:
            return self._agreed(step)
        if self.signal is not None:
            return self.signal.name
        return "the time limit" if self._late() else None

    def _agreed(self, step: int) -> str | None:
        if multihost_utils.reached_preemption_sync_point(step):
            self.signal = signal.SIGTERM
            return self.signal.name
        return "the time limit" if self._deadline and hosts.agree(self._late()) else None

    def _late(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)

    def _at_once(self, number: signal.Signals, count: int) -> None:
        if count == 1:
            self.signal = number
            self._say(f"{number.name}: stopping after this step; once more to stop now")
        else:
            self._say(f"{number.name} again: stopped at once, the last checkpoint stands")
            end_at_once(128 + number)
