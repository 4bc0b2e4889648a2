"""The files of a stored set, read with suspicion: `metadata.json` and the shards of one split.

    metadata.json                                 what `record_set` says, checked key by key
    NAME-train.array_record-00000-of-00002 ...    tf.train.Example protos of five features
                                                  and, in a simulated set, boxes

Nothing else of a set is looked at. tensorflow-datasets would build whatever features.json names by
importing the module that it names, so a set from elsewhere could run code; here the features are
known beforehand. A set that is damaged, incomplete or of another kind is an `InputError`.
"""

import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
from jaxtyping import Float, Int

from vldm_jax.core.errors import InputError
from vldm_jax.core.json_files import read_json

KEY_EVERY = 8
"""Frames between key frames of a stored mp4, so that a window is read without the whole clip."""
REMEDY = "copy the set again, or build it again"
LONGEST = 1 << 20
"""Frames of a record, at most."""
FRAMES_A_BYTE = 16
"""Frames that a byte of a shard can stand for, at most; still pictures compress well."""


# Its imports are lazy and take locks of their own: two threads that come first at once would wait
# for each other for ever.
_IMPORTING = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a set says about itself; `num_frames` has the lengths of all records by split."""

    fps: float
    height: int
    width: int
    label_names: tuple[str, ...]
    report: str
    num_frames: dict[str, list[int]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Record:
    """One stored clip: its mp4, its labels, where it is from, and the ticks from frame to frame.

    A simulated one has boxes, too: four values each, and the frame that each belongs to.
    """

    video: bytes
    labels: Float[np.ndarray, " k"]
    name: str
    num_frames: int
    ticks: int
    box_frame: Int[np.ndarray, " n"] | None = None
    box: Float[np.ndarray, " values"] | None = None


def read_metadata(path: Path) -> Metadata:
    """Return what the set in the folder `path` says about itself.

    Raises:
        InputError: if it is no such set, or says what cannot be.
    """
    file = path / "metadata.json"
    if not file.is_file():
        raise InputError(f"{path}: no stored set of clips: make one with `vldm data build`")
    found = read_json(file, "the metadata of a stored set", remedy=REMEDY, max_bytes=1 << 28)
    wanted = {
        "fps": (_is_rate, "frames per second"),
        "height": (_is_size, "a number of pixels"),
        "width": (_is_size, "a number of pixels"),
        "label_names": (_are_texts, "a list of names"),
        "report": (lambda value: isinstance(value, str), "text"),
        "num_frames": (_are_lengths, f"lists of lengths from 1 to {LONGEST}, by split"),
    }
    for key, (is_right, what) in wanted.items():
        if key not in found:
            raise InputError(f"{file}: lacks {key!r}, so it is of no set of clips: {REMEDY}")
        if not is_right(found[key]):
            got = repr(found[key])
            got = got if len(got) < 80 else f"{got[:80]} ..."
            raise InputError(f"{file}: {key!r} must be {what}, got {got}: {REMEDY}")
    return Metadata(
        fps=float(found["fps"]), height=found["height"], width=found["width"],
        label_names=tuple(found["label_names"]), report=found["report"],
        num_frames=found["num_frames"],
    )  # fmt: skip


class RecordFiles:
    """The records of one split by their number; travels to worker processes as names of files.

    Args:
        path: the set's folder.
        split: one that `metadata` has.
        metadata: what the set says about itself.

    Raises:
        InputError: if shards are missing or damaged, or don't hold these records.
    """

    def __init__(self, path: Path, split: str, metadata: Metadata):
        self._path, self._split = path, split
        self._metadata, self._lengths = metadata, metadata.num_frames[split]
        lengths = self._lengths
        shards = _find_shards(path, split)
        size = sum(shard.stat().st_size for shard in shards)
        if sum(lengths) > size * FRAMES_A_BYTE:
            raise InputError(
                f"{path}: {split!r} cannot hold {sum(lengths)} frames in {size} bytes: {REMEDY}"
            )
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        try:
            self._source = ArrayRecordDataSource([str(shard) for shard in shards])
        except (RuntimeError, ValueError) as error:  # all that array_record raises
            raise InputError(f"{path}: {split!r} is damaged ({_line(error)}): {REMEDY}") from error
        if len(self._source) != len(lengths):
            raise InputError(
                f"{path}: {split!r} holds {len(self._source)} records where metadata.json lists "
                f"{len(lengths)}: {REMEDY}"
            )

    def __len__(self) -> int:
        return len(self._lengths)

    def __getitem__(self, key: SupportsIndex) -> Record:
        index = int(key)
        try:
            content = self._source[index]
        except (RuntimeError, ValueError) as error:
            raise self.damaged(index, _line(error)) from error
        record = _parse(content)
        if record is None:
            raise self.damaged(index, "it is not one of ours")
        if len(record.labels) != (count := len(self._metadata.label_names)):
            raise self.damaged(index, f"{len(record.labels)} labels, not {count}")
        if record.num_frames != self._lengths[index] or not 0 <= record.ticks < 2**31:
            raise self.damaged(index, f"{record.num_frames} frames, {record.ticks} ticks apart")
        return record

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frames."""
        return self._metadata.height, self._metadata.width

    def boxes(self, index: int) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n 4"]]:
        """Return the boxes of a record, in [0, 1] of its frame, and the frame of each.

        Raises:
            InputError: if it has none, or what should be boxes are none.
        """
        record = self[index]
        if record.box is None or record.box_frame is None:
            raise InputError(
                f"{self._path}: its records have no boxes: build a set that has, vldm data build "
                "driving --records"
            )
        frame, box = record.box_frame, record.box
        inside = (box >= 0) & (box <= 1)
        if len(box) != 4 * len(frame) or not inside.all():
            raise self.damaged(index, f"{len(box)} values in [0, 1] for {len(frame)} boxes")
        return frame, box.reshape(-1, 4)

    def check_size(self, index: int, height: int, width: int) -> None:
        """Raise unless the frames of a record have the set's size.

        Raises:
            InputError: naming the record and both sizes.
        """
        # An mp4 has even sides: `write_video` gives an odd one another row or column.
        rows, columns = (side + side % 2 for side in (self._metadata.height, self._metadata.width))
        if (height, width) != (rows, columns):
            raise self.damaged(index, f"its frames are {height}x{width}, not {rows}x{columns}")

    def damaged(self, index: int, why: str) -> InputError:
        """Return the error that says why a record cannot be used."""
        return InputError(
            f"{self._path}: record {index} of {self._split!r} is damaged ({why}): {REMEDY}"
        )


def _find_shards(path: Path, split: str) -> list[Path]:
    """The files of a split in their order, all of them or none."""
    pattern = re.compile(rf".+-{re.escape(split)}\.array_record-(\d{{5,}})-of-(\d{{5,}})")
    found = {
        (int(match[1]), int(match[2])): file
        for file in sorted(path.iterdir())
        if (match := pattern.fullmatch(file.name)) and file.is_file()
    }
    count = max((total for _, total in found), default=0)
    if not found or set(found) != {(number, count) for number in range(count)}:
        raise InputError(f"{path}: has {len(found)} of {count} shards of {split!r}: {REMEDY}")
    return [found[number, count] for number in range(count)]


def _parse(content: bytes) -> Record | None:
    """The record of an Example proto; None if it lacks a feature or has it of another type."""
    with _IMPORTING:
        from google.protobuf.message import DecodeError
        from tensorflow_datasets.proto import tf_example_pb2

    try:
        features = tf_example_pb2.Example.FromString(content).features.feature
    except DecodeError:
        return None
    texts = [features[name].bytes_list.value for name in ("video", "name")]
    numbers = [features[name].int64_list.value for name in ("num_frames", "ticks")]
    if any(len(values) != 1 for values in (*texts, *numbers)):
        return None
    return Record(
        video=texts[0][0],
        labels=np.array(features["labels"].float_list.value, np.float32),
        name=texts[1][0].decode(errors="replace"),
        num_frames=numbers[0][0],
        ticks=numbers[1][0],
        **_parse_boxes(features),
    )


def _parse_boxes(features: Any) -> dict[str, np.ndarray]:
    if "box" not in features or "box_frame" not in features:
        return {}
    return {
        "box": np.array(features["box"].float_list.value, np.float32),
        "box_frame": np.array(features["box_frame"].int64_list.value, np.int64),
    }


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _is_rate(value: Any) -> bool:
    return type(value) in (int, float) and 1e-3 <= value <= 1e6


def _is_size(value: Any) -> bool:
    return type(value) is int and 1 <= value <= 1 << 16


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, str) and item.isprintable() for item in value
    )


def _are_lengths(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(lengths, list)
        and all(type(length) is int and 1 <= length <= LONGEST for length in lengths)
        for lengths in value.values()
    )
