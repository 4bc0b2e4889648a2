"""Figures of a stage while it trains: as `vldm evaluate` finds them, from the parameters at hand.

All that can fail does so before training begins: names and lengths on the config alone, weights of
judging networks and real clips when the judge is made.
"""

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vldm_jax.core.errors import InputError, naming
from vldm_jax.core.scratch import scratch_folder
from vldm_jax.evals.checks import check_alone, check_count, check_figures
from vldm_jax.evals.compare import compare, make_extractors
from vldm_jax.evals.kept_numbers import cache_folder
from vldm_jax.evals.record import record
from vldm_jax.evals.report import number
from vldm_jax.stages.asking import settings_of
from vldm_jax.stages.base import Stage
from vldm_jax.stages.samples import check_lengths, has, real_clips, write_samples
from vldm_jax.typing import PyTree

SEED = 0  # of what is drawn: that of vldm evaluate, so that recipes are equal


def check_evals(stage: Stage) -> None:
    """Raise for figures that cannot be had during training, as far as the config tells.

    Raises:
        InputError: naming what cannot, and the key.
    """
    config = stage.config
    evals, every = config.evals, config.train.evaluate_every
    if every is None:
        if evals.keep_best is not None:
            raise InputError(
                f"config.evals.keep_best={evals.keep_best!r}, but nothing is evaluated: set "
                "config.train.evaluate_every, or leave the former out"
            )
        return
    if type(stage).sampler is Stage.sampler:
        _naming(f"train.evaluate_every={every}", stage.sampler)
    _naming("evals.figures", lambda: _check_figures(stage))
    if evals.keep_best is not None and evals.keep_best not in evals.figures:
        raise InputError(
            f"config.evals.keep_best={evals.keep_best!r} must be one of config.evals.figures="
            f"{evals.figures}"
        )


class Judge:
    """What evaluates a stage again and again, always against the same real clips.

    Args:
        stage: whose samples.

    Attributes:
        notes: how many clips there are, lines for a person.

    Raises:
        InputError: if weights of a judging network, or real clips, are missing.
    """

    def __init__(self, stage: Stage) -> None:
        evals = stage.config.evals
        self._stage, self._names = stage, evals.figures
        self._extractors = _naming("evals.figures", lambda: make_extractors(self._names, {}))
        self._sampler = stage.sampler()
        self._real = _naming(
            f"evals.clips={evals.clips}",
            # What the data holds is said by training.
            lambda: real_clips(stage, clips=evals.clips, seed=SEED, asked="clips", say=False),
        )
        _naming("evals.figures", lambda: self._real.check_labels(self._names, stage))
        self._asked = self._real.asked(stage)
        self.notes = self._real.notes

    def __call__(self, params: PyTree, step: int, workdir: Path) -> dict[str, Any]:
        """Return the figures of the parameters after a step, as `vldm evaluate` writes them.

        Args:
            params: whole, on one device.
            step: number of updates done.
            workdir: of the run; samples lie there for as long as they are looked at.

        Raises:
            InputError: if a figure cannot be taken of these samples.
        """
        config = self._stage.config
        made_with = {
            **settings_of(config),
            "seed": config.seed,
            "step": step,
        }
        with scratch_folder(workdir) as folder:
            samples = write_samples(
                self._stage, self._sampler, params, self._asked, folder, leave=False
            )
            # Nobody sees these again: their numbers would fill the folder of those who may.
            sets = self._real.sets(dataclasses.replace(samples, kept=False), made_with)
            result = compare(
                sets.compared, self._names, extractors=self._extractors,
                cache=cache_folder(), seed=SEED,
            )  # fmt: skip
        return record(sets, result, seed=SEED)


def say(step: int, metrics: Mapping[str, Any], more: str = "") -> None:
    """Print the figures after a step in a line, without breaking a bar."""
    found = metrics["figures"].items()
    words = [f"{k} {number(v['value'])} (floor {number(v['floor'])})" for k, v in found]
    line = "  ".join(words) + (f"; {more}" if more else "")
    tqdm.write(f"figures after step {step}: {line}", file=sys.stderr)


def _check_figures(stage: Stage) -> None:
    config, names = stage.config, stage.config.evals.figures
    if not isinstance(names, tuple):
        raise InputError(f"{names!r} must be a tuple of names of figures")
    check_figures(names)
    check_alone(names, has(stage))
    check_lengths(names, stage)
    check_count(names, config.evals.clips, asked="config.evals.clips")


def _naming(key: str, call: Any) -> Any:
    """Return what a call returns; name the key of the config in its error."""
    with naming(f"config.{key}"):
        return call()
