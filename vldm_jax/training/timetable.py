"""When a run logs, saves, samples, evaluates and ends."""

import dataclasses
from typing import NamedTuple


class Due(NamedTuple):
    """What is to be done after a step."""

    log: bool
    save: bool
    sample: bool
    evaluate: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timetable:
    """The steps at which something happens, counted in updates.

    Attributes:
        total_steps: the step at which the run is complete.
        log_every: steps between two records of metrics, which are means over the interval.
        save_every: steps between two checkpoints; the last state is always saved.
        sample_every: steps between two previews; a run that ends by itself, complete or because its
            time is up, always has one.
        evaluate_every: steps between two evaluations; a run that ends by itself has one then, too.
            None: never.
        stop_after_minutes: time limit, compilation included.
    """

    total_steps: int
    log_every: int = 50
    save_every: int = 1000
    sample_every: int | None = None
    evaluate_every: int | None = None
    stop_after_minutes: float | None = None

    def due(self, step: int, *, stopping: bool, hurried: bool = False) -> Due:
        """Return what is to be done after a step.

        Args:
            step: number of updates done.
            stopping: whether it is the last one of this start.
            hurried: whether that is because of a signal, which leaves no time for pictures of the
                end, nor for figures: the next start makes up for those.
        """
        complete = step == self.total_steps
        ends = complete or (stopping and not hurried)
        return Due(
            log=complete or stopping or step % self.log_every == 0,
            save=complete or stopping or step % self.save_every == 0,
            sample=ends or bool(self.sample_every and step % self.sample_every == 0),
            evaluate=self.evaluate_every is not None
            and (ends or (not hurried and step % self.evaluate_every == 0)),
        )
