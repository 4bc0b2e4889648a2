"""What a stored set of clips consists of, whoever fills it (`records`, `driving.builder`).

A tensorflow-datasets set in ArrayRecord files, written and read without TensorFlow. One record is

    video: mp4 bytes    labels: float32 (k), NaN unknown    name: bytes
    num_frames: int64   ticks: int64, timestamp units from one frame to the next

and the set's metadata.json holds what windows need: fps, height, width, label_names, a report, and
num_frames, the lengths of all records by split. A set appears whole or not at all.
"""

import contextlib
import io
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from vldm_jax.core.errors import InputError
from vldm_jax.core.files import atomic_path, check_writable

KEY_EVERY = 8
"""Frames between key frames of a stored mp4, so that a window is read without the whole clip."""
Records = Iterable[tuple[int, dict[str, Any]]]


class ClipSet(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Writes numbered records in their order, so that the metadata's lists match."""

    VERSION = tfds.core.Version("1.0.0")
    code_path = None  # nothing of a set lies beside its code, so tfds need not look there

    def __init__(
        self,
        data_dir: str,
        splits: Mapping[str, Callable[[], Records]],
        metadata: Mapping[str, Any],
        more_features: Mapping[str, Any] | None = None,
    ) -> None:
        """Describe a set.

        Args:
            data_dir: folder to write into.
            splits: name of each split and what makes its (number, record).
            metadata: see above.
            more_features: features of a record beyond the five above.
        """
        self._splits, self._metadata = splits, dict(metadata)
        self._more_features = dict(more_features or {})
        super().__init__(data_dir=data_dir, file_format="array_record")

    def _info(self) -> tfds.core.DatasetInfo:
        labels = (len(self._metadata["label_names"]),)
        features = {
            "video": tfds.features.Text(),
            "labels": tfds.features.Tensor(shape=labels, dtype=np.float32),
            "name": tfds.features.Text(),
            "num_frames": tfds.features.Scalar(np.int64),
            "ticks": tfds.features.Scalar(np.int64),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features | self._more_features),
            metadata=tfds.core.MetadataDict(self._metadata),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Records]:
        return {name: make() for name, make in self._splits.items()}

    def _generate_examples(self) -> None:
        raise NotImplementedError("a split brings its own generator")


def check_new(out: Path) -> None:
    """Raise unless a set can be written to `out`, before any work for it.

    Raises:
        InputError: if it exists or its folder cannot be written.
    """
    if out.exists():
        raise InputError(f"{out}: exists already: give a new folder or remove it")
    check_writable(out.parent)


def write_set(out: Path, make: Callable[[str], ClipSet]) -> None:
    """Write the set `make(folder)` to the new folder `out`, whole or not at all."""
    parent = out.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    tfds.disable_progress_bar()  # it would show one bar a shard beside ours
    with tempfile.TemporaryDirectory(prefix=".records-", dir=parent) as scratch:
        builder = make(scratch)
        with contextlib.redirect_stdout(io.StringIO()):  # tfds speaks of downloads
            builder.download_and_prepare()
        with atomic_path(out) as temporary:
            os.replace(builder.data_path, temporary)
