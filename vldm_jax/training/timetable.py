"""When a run logs, saves, samples and ends."""

import dataclasses
from typing import NamedTuple


class Due(NamedTuple):
    """What is to be done after a step."""

    log: bool
    save: bool
    sample: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timetable:
    """The steps at which something happens, counted in updates.

    Attributes:
        total_steps: the step at which the run is complete.
        log_every: steps between two records of metrics, which are means over the interval.
        save_every: steps between two checkpoints; the last state is always saved.
        sample_every: steps between two previews; the complete run always has one.
        stop_after_minutes: time limit, compilation included.
    """

    total_steps: int
    log_every: int = 50
    save_every: int = 1000
    sample_every: int | None = None
    stop_after_minutes: float | None = None

    def due(self, step: int, *, stopping: bool) -> Due:
        """Return what is to be done after `step`, also if it is the last one because of a stop."""
        complete = step == self.total_steps
        return Due(
            log=complete or stopping or step % self.log_every == 0,
            save=complete or stopping or step % self.save_every == 0,
            sample=complete or bool(self.sample_every and step % self.sample_every == 0),
        )
