"""What Ctrl-C and SIGTERM do to a command: one line at once, its tidying up, the exit code.

The interrupt is raised in the main thread, so that a command removes what it has half written. A
main thread that is inside a library does not come back to raise it, and some libraries swallow it:
so the process is ended after a while in any case, and by the second signal at once. (The training
loop has its own idea of a first signal, `training.stopping`.)
"""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from vldm_jax.core.signals import Stopped, end_at_once, listening

LIBRARY_SECONDS = 1.0  # to come back to Python
TIDY_SECONDS = 5.0  # to remove what is half written


class Interruption:
    """The signals of one command.

    Attributes:
        begun: whether the command has begun; before, there is nothing to tidy up.
        raised: whether a signal was raised in the main thread.
    """

    def __init__(self) -> None:
        self.begun = False
        self.raised = False
        self._said = False
        self._saying = threading.RLock()  # who ends the process waits until it is said
        self._timers: list[threading.Timer] = []

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Hear the signals in this context."""
        try:
            with listening(self._at_once, self._in_main):
                yield
        finally:
            for timer in self._timers:
                timer.cancel()

    def say(self, number: int = signal.SIGINT) -> None:
        """Say once what has happened."""
        with self._saying:
            if not self._said:
                self._said = True
                what = "interrupted" if number == signal.SIGINT else "stopped by SIGTERM"
                print(f"vldm: {what}", file=sys.stderr, flush=True)

    def _at_once(self, number: signal.Signals, count: int) -> None:
        self.say(number)
        if count > 1 or not self.begun:
            end_at_once(128 + number)
        for seconds, function in (
            (LIBRARY_SECONDS, self._end_unless_raised),
            (TIDY_SECONDS, end_at_once),
        ):
            timer = threading.Timer(seconds, function, [128 + number])
            timer.daemon = True
            timer.start()
            self._timers.append(timer)

    def _end_unless_raised(self, code: int) -> None:
        if not self.raised:
            end_at_once(code)

    def _in_main(self, number: int, frame: FrameType | None) -> None:
        if not self.begun:
            self.say(number)
            end_at_once(128 + number)
        self.raised = True
        raise KeyboardInterrupt if number == signal.SIGINT else Stopped(number)
