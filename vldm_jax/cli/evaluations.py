"""Evaluations of a run: figures to the log, the best weights kept; what fails never ends the run.

A figure that early samples do not have, and a disk that has no room for samples, are no reason to
lose a training. Each is said in a line and counted in a record {"step": N, "failed_evaluations": K}
of its own, K since this start. That record has no figures, so a start from the state of step N
evaluates it again (`training/loop.py::fit`); of other steps nothing is left to be evaluated.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vldm_jax.core.errors import InputError
from vldm_jax.evals.best import Best
from vldm_jax.evals.record import scalars
from vldm_jax.stages.judge import say
from vldm_jax.training.metrics import MetricsLog
from vldm_jax.training.state import TrainState

FAILED = "failed_evaluations"


class Evaluations:
    """The hook that evaluates.

    Args:
        judge: (state, step) -> what `evals.record.record` returns.
        best: where the best weights are kept; None for nowhere.
        write: (folder, state, step) -> None; writes weights for `best`.

    Attributes:
        failed: steps whose evaluations, or whose best weights, are missing.
    """

    def __init__(
        self,
        judge: Callable[[TrainState, int], Mapping[str, Any]],
        best: Best | None,
        write: Callable[[Path, TrainState, int], None],
    ) -> None:
        self._judge, self._best, self._write = judge, best, write
        self.failed: list[int] = []

    def __call__(self, state: TrainState, step: int, log: MetricsLog) -> None:
        """Evaluate a state; raises nothing that samples, or a full disk, can be the reason of."""
        try:
            metrics = self._judge(state, step)
        except (InputError, OSError) as error:
            self._fail(step, log, f"no figures after step {step}: {_words(error)}")
            return
        try:
            more = self._offer(state, step, metrics)
        except OSError as error:
            more = ""
            self._fail(step, log, f"weights of step {step} are not kept: {_words(error)}")
        log.scalars(step, scalars(metrics))
        say(step, metrics, more)

    def summary(self) -> str:
        """Return a line on what failed since this start, "" if nothing did."""
        if not self.failed:
            return ""
        steps = ", ".join(map(str, self.failed[:10])) + (", ..." if len(self.failed) > 10 else "")
        return (
            f"{len(self.failed)} evaluations failed, after steps {steps}: what is missing is said "
            "above; the same command takes figures of the last step again"
        )

    def _offer(self, state: TrainState, step: int, metrics: Mapping[str, Any]) -> str:
        if self._best is None:
            return ""
        return self._best.offer(step, metrics, lambda folder: self._write(folder, state, step))

    def _fail(self, step: int, log: MetricsLog, line: str) -> None:
        self.failed.append(step)
        tqdm.write(line, file=sys.stderr)
        try:
            log.scalars(step, {FAILED: float(len(self.failed))})
        except OSError as error:
            tqdm.write(f"that is in no record, either: {_words(error)}", file=sys.stderr)


def _words(error: Exception) -> str:
    """Return an error as one line."""
    return " ".join(str(error).split()) or type(error).__name__
