"""What a stored set of clips consists of, whoever fills it (`records`, `driving.builder`).

A tensorflow-datasets set in ArrayRecord files, written and read without TensorFlow. One record is

    video: mp4 bytes    labels: float32 (k), NaN unknown    name: bytes
    num_frames: int64   ticks: int64, timestamp units from one frame to the next

and the set's metadata.json holds what windows need: fps, height, width, label_names, a report, and
num_frames, the lengths of all records by split. A set appears whole or not at all; `record_files`
reads it.
"""

import contextlib
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from vldm_jax.core.files import NO_ROOM, atomic_path
from vldm_jax.core.scratch import scratch_folder

Records = Iterable[tuple[int, dict[str, Any]]]
MakeRecords = Callable[[Path], Records]
"""Makes the numbered records of a split; the folder is for what that takes on the way."""


class _Info(tfds.core.DatasetInfo):
    """Knows nothing from elsewhere."""

    def initialize_from_bucket(self) -> None:
        """Do nothing: tfds's own looks for the set on its server and leaves a folder in /tmp."""


class ClipSet(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Writes numbered records in their order, so that the metadata's lists match."""

    VERSION = tfds.core.Version("1.0.0")
    code_path = None  # nothing of a set lies beside its code, so tfds need not look there

    def __init__(
        self,
        data_dir: str,
        splits: Mapping[str, Records],
        metadata: Mapping[str, Any],
        more_features: Mapping[str, Any],
    ) -> None:
        self._splits, self._metadata = splits, dict(metadata)
        self._more_features = dict(more_features)
        super().__init__(data_dir=data_dir, file_format="array_record")

    def _info(self) -> _Info:
        labels = (len(self._metadata["label_names"]),)
        features = {
            "video": tfds.features.Text(),
            "labels": tfds.features.Tensor(shape=labels, dtype=np.float32),
            "name": tfds.features.Text(),
            "num_frames": tfds.features.Scalar(np.int64),
            "ticks": tfds.features.Scalar(np.int64),
        }
        return _Info(
            builder=self,
            features=tfds.features.FeaturesDict(features | self._more_features),
            metadata=tfds.core.MetadataDict(self._metadata),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Records]:
        return dict(self._splits)

    def _generate_examples(self) -> None:
        raise NotImplementedError("a split brings its own generator")


class VideoRecords(ClipSet, skip_registration=True):
    """A folder of videos, by `records.build_records`."""

    name = "video_records"


def write_set(
    out: Path,
    kind: type[ClipSet],
    splits: Mapping[str, MakeRecords],
    metadata: Mapping[str, Any],
    more_features: Mapping[str, Any] | None = None,
) -> None:
    """Write a set to the new folder `out`, whole or not at all.

    Args:
        out: the set's own folder.
        kind: gives the files their names.
        splits: name of each split and what makes its records.
        metadata: see above.
        more_features: features of a record beyond the five above.

    Raises:
        OSError: naming `out`, if the disk is full.
    """
    tfds.disable_progress_bar()  # it would show one bar a shard beside ours
    with atomic_path(out) as temporary, scratch_folder(temporary.parent) as scratch:
        records = {name: make(scratch) for name, make in splits.items()}
        builder = kind(str(scratch / "set"), records, metadata, more_features or {})
        # tfds speaks of downloads on standard output.
        with contextlib.redirect_stdout(io.StringIO()), _full_disk_as_oserror():
            builder.download_and_prepare()
        os.replace(builder.data_path, temporary)


@contextlib.contextmanager
def _full_disk_as_oserror() -> Iterator[None]:
    """array_record has one kind of error and tells only in words that the disk is full."""
    try:
        yield
    except RuntimeError as error:
        for number in NO_ROOM:
            if os.strerror(number) in str(error):
                raise OSError(number, os.strerror(number)) from error
        raise
