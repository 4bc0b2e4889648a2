"""Where the time of a run goes: into steps, into waiting for data, into pauses between steps."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any


class Clock:
    """Seconds of the steps of one interval, the time between two records of metrics.

    What is compiled, saved or sampled is not part of a step: it is `paused`.

    Args:
        carried: what `state` returned in the process that began the interval.
    """

    def __init__(self, carried: Mapping[str, Any] | None = None) -> None:
        self.restart()
        if carried is not None:
            self._steps = carried["steps"]
            self._since -= carried["seconds"]
            self._waited = carried["waited"]

    def restart(self) -> None:
        """Begin an interval."""
        self._steps, self._waited, self._since = 0, 0.0, time.monotonic()

    def tick(self) -> None:
        """Count a step."""
        self._steps += 1

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Count this context as waiting, which is part of a step."""
        begun = time.monotonic()
        yield
        self._waited += time.monotonic() - begun

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave this context out of the steps."""
        begun = time.monotonic()
        yield
        self._since += time.monotonic() - begun

    def figures(self) -> dict[str, float]:
        """Return the mean seconds of a step of the interval, and of its wait for data."""
        seconds = time.monotonic() - self._since
        return {
            "step_seconds": seconds / self._steps,
            "loader_wait_seconds": self._waited / self._steps,
        }

    def state(self) -> dict[str, Any]:
        """Return the interval so far, for the process that goes on with the interval."""
        seconds = time.monotonic() - self._since
        return {"steps": self._steps, "seconds": seconds, "waited": self._waited}
