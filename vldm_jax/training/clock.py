"""Where the time of a run goes: into steps, into waiting for data, into pauses between steps."""

import contextlib
import time
from collections.abc import Iterator


class Clock:
    """Seconds of the steps of one interval.

    What is compiled, saved or sampled is no part of a step: it is `paused`.

    Args:
        seconds: that the interval has taken so far.
        waited: of these, for data.

    Attributes:
        waited: seconds of waiting for data, which is part of a step.
    """

    def __init__(self, seconds: float = 0.0, waited: float = 0.0) -> None:
        self.waited = waited
        self._begun = time.monotonic() - seconds

    @property
    def seconds(self) -> float:
        """Seconds of the interval without its pauses."""
        return time.monotonic() - self._begun

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Count this context as waiting."""
        begun = time.monotonic()
        yield
        self.waited += time.monotonic() - begun

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave this context out of the steps."""
        begun = time.monotonic()
        yield
        self._begun += time.monotonic() - begun
