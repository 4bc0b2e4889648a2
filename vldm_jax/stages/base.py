"""What a stage is: one system of the paper, from its config to what it leaves behind.

A stage is made from a config alone. Checking, training, sampling and exporting ask the same object,
so nothing about a system is said twice:

    Stage(config)        modules and settings; raises for what does not fit
    shapes()             of the parameters that its loss reaches: what the rules split
    files                the weights files that training needs, found and compared, not read
    init(key)            those parameters: fresh, from files, or both
    given()              what comes from files and no loss reaches: never trained, cast as stored
    loss(...)            of a batch; `needs` are the batch's keys
    preview(...)         frames that show how far training is
    export(...)          the weights file, of what was trained
    load(weights)        what export left, with what it stands on: parameters to sample with
    sampler()            how to
    request(n)           what samples are asked for by the config alone, if they can be
    asked_of(examples)   what samples are asked for that are to be like real clips, or are made of
                         them (`reconstructs`)

Parameters are one tree with a sub-tree a network: {"network": ..., "autoencoder": ...}. A new stage
is a file here and a row in `stages/table.py`.
"""

import abc
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ml_collections import ConfigDict

from vldm_jax.conditions import Condition
from vldm_jax.config.base import base_config
from vldm_jax.config.data import brings
from vldm_jax.config.table import check_keys
from vldm_jax.core.assets import SCHEME
from vldm_jax.core.errors import InputError
from vldm_jax.data.pipeline import Source
from vldm_jax.interop.weights import WeightsFile, find_weights
from vldm_jax.sampling.maker import FrameMaker
from vldm_jax.typing import Array, Conditioning, Float, Int, Key, PyTree, UInt8


class Stage(abc.ABC):
    """One system; see the module. Subclasses are final or say `Stage` in their name.

    Attributes:
        base: makes a config that has every key which the stage always reads.
        also_reads: {section: keys} that a config of this stage may have beside those of `base`.
        model_keys: keys of `config.model` that it reads; another one is an error.
        objective_keys: the same of `config.objective`.
        given_names: top-level names of the parameters that `given` returns.
        exported: top-level name of the parameters that `export` writes; None if they have several.
        shown: names of the metrics that tell a person how far training is.
        reconstructs: whether a sample is a real clip that went through the networks, so that the
            two can be compared frame by frame.
        conditions: what its network is told beside frames.
        conditioning_frames: number of frames of a real clip that a sample which is to be like it
            is given.
    """

    base: ClassVar[Callable[[], ConfigDict]] = staticmethod(base_config)
    also_reads: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    model_keys: ClassVar[tuple[str, ...]]
    objective_keys: ClassVar[tuple[str, ...]]
    given_names: ClassVar[tuple[str, ...]] = ()
    exported: ClassVar[str | None] = None
    shown: ClassVar[tuple[str, ...]] = ("loss",)
    reconstructs: ClassVar[bool] = False
    conditions: tuple[Condition, ...] = ()
    conditioning_frames: int = 0

    @property
    def compared(self) -> tuple[int, ...]:
        """Frames of a sample that figures of pairs hold against its real clip's; () if it has none.

        Frames that a sample was given are not among them: they would flatter it.
        """
        return tuple(range(self.config.data.num_frames)) if self.reconstructs else ()

    def __init__(self, config: ConfigDict) -> None:
        self.config = config
        check_keys(config.model, self.model_keys, "model")
        check_keys(config.objective, ("kind", *self.objective_keys), "objective")
        self.brings = brings(config.data)

    @property
    @abc.abstractmethod
    def needs(self) -> tuple[str, ...]:
        """Keys of a batch that `loss` reads."""

    def check_data(self) -> None:
        """Raise unless the data has what the loss reads; to be asked before it is scanned.

        Raises:
            InputError: naming what it lacks.
        """
        if missing := sorted(set(self.needs) - set(self.brings)):
            raise InputError(
                f"config.data.kind={self.config.data.kind!r} brings no {missing[0]!r}, which this "
                f"stage is trained with: it brings {', '.join(self.brings)}"
            )

    @abc.abstractmethod
    def shapes(self) -> PyTree:
        """Return shapes and types of the parameters that the loss reaches; no device is touched.

        Raises:
            InputError: if the fields of a network do not fit together.
        """

    @functools.cached_property
    @abc.abstractmethod
    def files(self) -> dict[str, WeightsFile]:
        """The weights files that training starts from or stands on, by their key in `config.model`.

        Samples need the latter alone: what training started from may be gone (`load`).

        Raises:
            InputError: if one is missing, of another kind, or made for another experiment.
        """

    def hashes(self) -> dict[str, str]:
        """Return {path: SHA-256} of the files that a run reads beside what it stands on.

        Raises:
            InputError: if one is missing.
        """
        return {file.path: file.sha256 for key, file in self.files.items() if key == "init"}

    @abc.abstractmethod
    def init(self, key: Key) -> PyTree:
        """Return the parameters of `shapes`, float32: what training starts from.

        Raises:
            InputError: if a weights file does not fit.
        """

    def given(self) -> PyTree:
        """Return the parameters that come from files and that no loss reaches."""
        return {}

    @abc.abstractmethod
    def loss(
        self, params: PyTree, batch: dict[str, Any], key: Key, step: int | Int[Array, ""]
    ) -> tuple[Float[Array, ""], dict[str, Any]]:
        """Return (loss, metrics), see `training.objective.Objective`; params with what is given."""

    @abc.abstractmethod
    def preview(self, params: PyTree, source: Source, count: int) -> UInt8[np.ndarray, "b t h w 3"]:
        """Return frames that show how far training is."""

    def preview_captions(self, source: Source, count: int) -> list[str]:
        """Return a line on each row of a preview that asks for something; [] if it does not."""
        del source, count
        return []

    def pictures(
        self, frames: UInt8[np.ndarray, "b t h w 3"], cond: Conditioning
    ) -> UInt8[np.ndarray, "b t2 h2 w2 3"]:
        """Return samples as a contact sheet shows them: as they are, or with what was asked for."""
        del cond
        return frames

    @abc.abstractmethod
    def export(
        self, path: Path, params: PyTree, trained: Sequence[str], steps: int, source: Source
    ) -> None:
        """Write the weights file: every trained path, and what it takes to use them.

        Args:
            path: file to write.
            params: the whole tree.
            trained: paths that the rules trained.
            steps: updates done.
            source: what it was trained on.
        """

    def exports(self, path: str, trained: Sequence[str]) -> bool:
        """Return whether `export` writes the parameter at a path of `shapes`.

        Those that it writes are kept as they were read, whatever precision the step computes in.
        """
        del trained
        return self.exported is None or path.startswith(f"{self.exported}/")

    def load(self, weights: str) -> tuple[PyTree, dict[str, WeightsFile]]:
        """Return what a weights file of this stage and the files below it make: whole parameters.

        Args:
            weights: file that `export` wrote, or "asset:NAME".

        Raises:
            InputError: if the stage has nothing to sample, or the file does not belong to it.
        """
        raise self._nothing_to_sample()

    def sampler(self) -> FrameMaker:
        """Return how samples are made.

        Raises:
            InputError: if the stage has nothing to sample.
        """
        raise self._nothing_to_sample()

    def request(
        self, count: int, *, first: int = 0, unknown: Mapping[str, Sequence[str]] | None = None
    ) -> Conditioning:
        """Return what `config.sampling` asks of `count` samples, every array leading with it.

        Args:
            count: number of samples.
            first: number of the first: what is asked belongs to the number.
            unknown: {condition: names of its columns that training never saw}: not asked for.

        Raises:
            InputError: if a config alone cannot ask for samples.
        """
        del count, first, unknown
        raise self._nothing_to_sample()

    def asked_of(
        self, examples: Sequence[Mapping[str, Any]], unknown: Mapping[str, Sequence[str]]
    ) -> Conditioning:
        """Return what samples are asked for that are to be like real examples.

        Args:
            examples: of the data.
            unknown: as in `request`.

        Raises:
            InputError: if the stage has nothing to sample.
        """
        del examples, unknown
        raise self._nothing_to_sample()

    def captions(self, cond: Conditioning) -> list[str]:
        """Return a line on each sample: what it was asked for; [] if that cannot be said."""
        del cond
        return []

    def describe(self, cond: Conditioning) -> dict[str, Any]:
        """Return what samples were asked for as JSON values, for their metadata."""
        del cond
        return {}

    def _nothing_to_sample(self) -> InputError:
        from vldm_jax.stages.table import STAGES  # which imports every stage, and they this file

        if self.reconstructs:
            return InputError(
                f"samples of objective {self.config.objective.kind!r} are reconstructions of real "
                "clips, not made from noise: vldm evaluate makes them, and keeps them beside its "
                "figures"
            )
        kinds = (kind for kind, row in STAGES.items() if row.request is not Stage.request)
        return InputError(
            f"objective {self.config.objective.kind!r} has nothing to sample: use the config of a "
            f"stage that has, {' or '.join(kinds)}"
        )

    def stands_on(self, weights: WeightsFile) -> dict[str, WeightsFile]:
        """Return all files that samples are made with, of which `weights` was trained here."""
        return {"weights": weights}

    def trained_file(self, weights: str, *kinds: str) -> WeightsFile:
        """Return the file of trained weights.

        Raises:
            InputError: if there is none, or it is of another kind.
        """
        if not weights.startswith(SCHEME) and not Path(weights).exists():
            raise InputError(
                f"{weights} does not exist: vldm train writes it at its end, and a run that was "
                "stopped goes on with the same command"
            )
        return find_weights(weights, kinds, "--weights")

    def find(self, key: str, *kinds: str) -> WeightsFile:
        """Return the file that `config.model.KEY` names."""
        return find_weights(self.config.model[key], kinds, f"--config.model.{key}")
