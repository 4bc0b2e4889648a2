"""What a person sees of a run: a bar on a terminal, plain lines elsewhere; on process 0 only."""

import sys
import time
from collections.abc import Mapping

from tqdm import tqdm

from vldm_jax.parallel import hosts

TIMES = ("step_seconds", "loader_wait_seconds")


class Progress:
    """Progress of the steps of one run.

    Args:
        total_steps: the step at which the run ends.
        step: the step at which it starts.
        shown: names of the metrics that tell how far it is.
    """

    def __init__(self, total_steps: int, step: int, shown: tuple[str, ...] = ("loss",)) -> None:
        self._shown = (*shown, *TIMES)
        self._total = total_steps
        self._first = self._step = step
        self._start = time.monotonic()
        self._main = hosts.is_main()
        self._bar = None
        if self._main and sys.stderr.isatty():
            self._bar = tqdm(total=total_steps, initial=step, unit="step", dynamic_ncols=True)
        if step > 0:
            self.say(f"resumed from step {step}")

    def advance(self, step: int) -> None:
        """Say that `step` updates are done."""
        if self._bar is not None:
            self._bar.update(step - self._step)
        self._step = step

    def show(self, values: Mapping[str, float]) -> None:
        """Show the figures of the last interval."""
        figures = {name: f"{values[name]:.4g}" for name in self._shown if name in values}
        if self._bar is not None:
            self._bar.set_postfix(figures)
        elif self._main:
            text = "  ".join(f"{name} {value}" for name, value in figures.items())
            minutes = (time.monotonic() - self._start) / 60
            self.say(f"step {self._step}/{self._total}  {text}  minutes {minutes:.1f}")

    def say(self, line: str) -> None:
        """Print a line without breaking the bar."""
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        elif self._main:
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
