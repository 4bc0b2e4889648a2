"""The steps between two records of metrics: the means of their figures, the time that they took.

An interval that is open when a checkpoint is written goes into it: a resumed run writes the record
that the whole run would have written.
"""

from collections.abc import Mapping
from typing import Any

import jax

from vldm_jax.training.clock import Clock
from vldm_jax.training.objective import Mean


class Interval:
    """Running means of the metrics of several steps, on the host, and their clock.

    Args:
        carried: what `state` returned in the process that began the interval; None begins one.

    Attributes:
        clock: of the steps.
    """

    def __init__(self, carried: Mapping[str, Any] | None = None) -> None:
        sums = {} if carried is None else carried["sums"]
        self._sums: dict[str, list[float]] = {name: list(pair) for name, pair in sums.items()}
        self._steps: int = 0 if carried is None else carried["steps"]
        self.clock = Clock() if carried is None else Clock(carried["seconds"], carried["waited"])

    def add(self, metrics: Mapping[str, Any]) -> dict[str, float]:
        """Fetch one step's metrics, add them, and return this step's own values."""
        self._steps += 1
        fetched = jax.device_get(dict(metrics))
        values = {}
        for name, metric in fetched.items():
            total, count = (metric.total, metric.count) if isinstance(metric, Mean) else (metric, 1)
            sums = self._sums.setdefault(name, [0.0, 0.0])
            sums[0] += float(total)
            sums[1] += float(count)
            if count:
                values[name] = float(total) / float(count)
        return values

    def figures(self) -> dict[str, float]:
        """Return the means of the interval, without what has no values, and its seconds a step."""
        means = {name: total / count for name, (total, count) in self._sums.items() if count}
        return means | {
            "step_seconds": self.clock.seconds / self._steps,
            "loader_wait_seconds": self.clock.waited / self._steps,
        }

    def state(self) -> dict[str, Any]:
        """Return the interval so far as JSON values."""
        return {
            "sums": {name: list(pair) for name, pair in self._sums.items()},
            "steps": self._steps,
            "seconds": self.clock.seconds,
            "waited": self.clock.waited,
        }
