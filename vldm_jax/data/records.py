"""A folder of videos turned once into a tensorflow-datasets ArrayRecord set, and read from there.

`build_records` cuts every usable video into its shots, resamples and resizes them to one fps and
size and stores each as a short mp4 with close key frames, so that training opens no foreign file
and decodes only what it needs. One record is

    video: mp4 bytes    labels: float32 (k), NaN unknown    name: bytes, the file inside its folder
    num_frames: int64   ticks: int64, timestamp units from one frame to the next

Bytes and arrays only, so TensorFlow is not needed to write or to read. What windows need (the
length of every record) stands in the set's metadata.json. A set appears whole or not at all. Many
machines at once (Beam) are not for this file.
"""

import contextlib
import io
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Int
from tqdm import tqdm

from vldm_jax.core.errors import InputError
from vldm_jax.core.files import atomic_path
from vldm_jax.data.folder import Entry, read_folder
from vldm_jax.data.read import read_frames, scan
from vldm_jax.data.source import Example, decode_clip, describe_labels
from vldm_jax.data.transforms import resize_crop
from vldm_jax.data.windows import SLOWEST, clip_windows, held_out, on_screen
from vldm_jax.data.write import write_video

Path_ = str | os.PathLike[str]
Number = int | float
KEY_EVERY = 8


@dataclass(frozen=True, eq=False, kw_only=True)
class Segment:
    """A piece of one shot: frame indices of its video at the records' fps."""

    entry: Entry
    frames: Int[np.ndarray, " t"]


def build_records(
    folder: Path_,
    out: Path_,
    *,
    height: int,
    width: int,
    fps: Number,
    shortest: int = 8,
    longest: int = 256,
    crf: int = 14,
    test_fraction: Number = 0.0,
    cuts: bool = True,
    threads: int | None = None,
) -> str:
    """Write a folder of videos as ArrayRecords to the new folder `out`; return the report.

    Args:
        folder: folder of videos or one file, with an optional `labels.json`.
        out: the set's own folder; must not exist.
        height: rows to store, even.
        width: columns to store, even.
        fps: frames per second to store, at most the videos' own.
        shortest: shots of fewer stored frames are dropped (and counted).
        longest: longer shots are stored in pieces of this many frames.
        crf: quality of the stored mp4s, lower is better and bigger.
        test_fraction: share of the shots that go to the split "test", by a hash of their names.
        cuts: whether to look for cuts.
        threads: files worked on at a time.

    Raises:
        InputError: if `out` exists, a size is odd, or nothing is usable.
    """
    if Path(out).exists():
        raise InputError(f"{out}: exists already: give a new folder or remove it")
    if height % 2 or width % 2 or min(height, width) < 2:
        raise InputError(f"{out}: stored videos need even sizes, got {height}x{width}")
    scanned = read_folder(folder, cuts=cuts, threads=threads)
    splits: dict[str, list[Segment]] = {"train": [], "test": []}
    dropped: dict[str, int] = {}
    for entry in scanned.entries:
        if entry.video.height < height or entry.video.width < width:
            _count(dropped, f"videos smaller than {height}x{width}")
        elif entry.video.fps < SLOWEST * fps:
            _count(dropped, f"videos slower than {fps:g} fps")
        else:
            for number, shot in enumerate(entry.shots):
                split = "test" if held_out(entry.name, number, test_fraction) else "train"
                pieces = _segments(entry, shot, fps, shortest, longest)
                splits[split] += pieces
                if not pieces:
                    _count(dropped, f"shots shorter than {shortest} frames at {fps:g} fps")
    lines = [scanned.report(), *(f"  dropped {n} {why}" for why, n in sorted(dropped.items()))]
    if not any(splits.values()):
        why = ", ".join(f"{n} {why}" for why, n in dropped.items())
        raise InputError(f"{folder}: nothing to store at {fps:g} fps and {height}x{width} ({why})")
    lines += [f"  stored {len(part)} clips in {name!r}" for name, part in splits.items() if part]
    report = "\n".join(lines)
    metadata = {
        "fps": float(fps),
        "height": height,
        "width": width,
        "label_names": list(scanned.label_names),
        "report": report,
        "num_frames": {name: [len(s.frames) for s in part] for name, part in splits.items()},
    }
    with tempfile.TemporaryDirectory(prefix="records-", dir=_parent(out)) as scratch:
        builder = _Builder(scratch, {k: v for k, v in splits.items() if v}, metadata, crf, threads)
        tfds.disable_progress_bar()  # it would show one bar a shard beside ours
        with contextlib.redirect_stdout(io.StringIO()):  # and speaks of downloads
            builder.download_and_prepare()
        with atomic_path(out) as temporary:
            os.replace(builder.data_path, temporary)
    return report


@dataclass(frozen=True, eq=False, kw_only=True)
class RecordSource:
    """Windows of a stored set as examples; see `records_source`.

    Attributes:
        path: the set's folder.
        split: "train" or "test".
        label_names: what the labels mean.
        video: for each window the number of its record.
        frames: for each window its frame indices in that record.
        height: rows of an example.
        width: columns of an example.
        fps: frames per second of an example.
        report: what the build kept and left out, and the number of windows.
    """

    path: Path
    split: str
    label_names: tuple[str, ...]
    video: Int[np.ndarray, " n"]
    frames: Int[np.ndarray, "n t"]
    height: int
    width: int
    fps: float
    report: str

    @cached_property
    def _records(self) -> Any:
        return tfds.builder_from_directory(str(self.path)).as_data_source(self.split)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_records"}

    def __len__(self) -> int:
        return len(self.video)

    def __getitem__(self, key: SupportsIndex) -> Example:
        index = int(key)
        record = self._records[int(self.video[index])]
        pts = self.frames[index] * int(record["ticks"])
        images = read_frames(io.BytesIO(record["video"]), pts)
        clip = np.stack([resize_crop(image, self.height, self.width) for image in images])
        content = {"image": clip[0]} if len(clip) == 1 else {"video": clip}
        return content | {
            "labels": record["labels"],
            "fps": np.float32(self.fps),
            "key": np.int32(index),
        }

    def describe(self, key: int) -> str:
        """Return where an example comes from and its labels, for a person."""
        record = self._records[int(self.video[key])]
        labels = describe_labels(self.label_names, record["labels"])
        return f"{record['name'].decode()} record {self.video[key]}{labels}"


def records_source(
    path: Path_,
    *,
    num_frames: int,
    fps: Number | None = None,
    height: int | None = None,
    width: int | None = None,
    stride: Number = 1.0,
    split: str = "train",
) -> RecordSource:
    """Return the clip windows of a set that `build_records` wrote.

    Args:
        path: the set's folder.
        num_frames: frames of an example; 1 gives images.
        fps: frames per second, at most the stored; the stored by default.
        height: rows, at most the stored; the stored by default.
        width: columns, at most the stored; the stored by default.
        stride: distance between windows, in frames at `fps`.
        split: "train" or "test".

    Raises:
        InputError: if it is no such set, or has nothing of that size, rate and length.
    """
    stored = _metadata(Path(path))
    fps = stored["fps"] if fps is None else fps
    size = (height or stored["height"], width or stored["width"])
    if size[0] > stored["height"] or size[1] > stored["width"] or fps > stored["fps"] / SLOWEST:
        raise InputError(
            f"{path}: stores {stored['height']}x{stored['width']} at {stored['fps']:g} fps, asked "
            f"for {size[0]}x{size[1]} at {fps:g}: build it again, or ask for less"
        )
    lengths = stored["num_frames"][split] if split in stored["num_frames"] else []
    windows = [
        clip_windows(
            np.arange(n) / stored["fps"], np.array([[0, n]]),
            fps=fps, num_frames=num_frames, stride=stride,
        )
        for n in lengths
    ]  # fmt: skip
    if not sum(map(len, windows)):
        raise InputError(
            f"{path}: no window of {num_frames} frames at {fps:g} fps in the {len(lengths)} "
            f"clips of {split!r} (longest {max(lengths, default=0)} frames): ask for fewer"
        )
    video = np.repeat(np.arange(len(windows), dtype=np.int32), [len(found) for found in windows])
    return RecordSource(
        path=Path(path), split=split, label_names=tuple(stored["label_names"]), video=video,
        frames=np.concatenate(windows), height=size[0], width=size[1], fps=float(fps),
        report=f"{stored['report']}\n  {len(video)} windows of {num_frames} frames at {fps:g} fps",
    )  # fmt: skip


class _Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Writes segments in their order, so that the metadata's lists match."""

    name = "video_records"
    VERSION = tfds.core.Version("1.0.0")
    code_path = None  # nothing of this set lies beside its code, so tfds need not look there

    def __init__(
        self,
        data_dir: str,
        splits: Mapping[str, list[Segment]],
        metadata: dict[str, Any],
        crf: int,
        threads: int | None,
    ):
        self._splits, self._metadata = splits, metadata
        self._crf, self._threads = crf, threads or os.cpu_count() or 1
        super().__init__(data_dir=data_dir, file_format="array_record")

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "video": tfds.features.Text(),
            "labels": tfds.features.Tensor(
                shape=(len(self._metadata["label_names"]),), dtype=np.float32
            ),
            "name": tfds.features.Text(),
            "num_frames": tfds.features.Scalar(np.int64),
            "ticks": tfds.features.Scalar(np.int64),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            metadata=tfds.core.MetadataDict(self._metadata),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {name: self._generate_examples(part) for name, part in self._splits.items()}

    def _generate_examples(self, segments: list[Segment]) -> Iterator[tuple[int, dict[str, Any]]]:
        size = (self._metadata["height"], self._metadata["width"])
        with (
            tempfile.TemporaryDirectory() as scratch,
            ThreadPoolExecutor(self._threads) as pool,
            tqdm(total=len(segments), desc="storing", leave=False, disable=None) as bar,
        ):
            for start in range(0, len(segments), 4 * self._threads):
                numbered = enumerate(segments[start : start + 4 * self._threads], start)
                jobs = [
                    (
                        Path(scratch) / f"{number}.mp4",
                        segment,
                        size,
                        self._metadata["fps"],
                        self._crf,
                    )
                    for number, segment in numbered
                ]
                for number, record in enumerate(pool.map(lambda job: _store(*job), jobs), start):
                    bar.update()
                    yield number, record


def _store(
    path: Path, segment: Segment, size: tuple[int, int], fps: float, crf: int
) -> dict[str, Any]:
    clip = decode_clip(segment.entry, segment.frames, *size)
    write_video(path, clip, fps, crf=crf, key_every=KEY_EVERY)
    video, _ = scan(path)
    ticks = np.unique(np.diff(video.pts))
    if len(video.pts) != len(clip) or len(ticks) > 1 or video.pts[0]:
        raise OSError(f"{path}: wrote {len(clip)} frames evenly, reads ticks {video.pts}")
    content = path.read_bytes()
    path.unlink()
    return {
        "video": content,
        "labels": segment.entry.labels,
        "name": segment.entry.name,
        "num_frames": len(clip),
        "ticks": int(ticks[0]) if len(ticks) else 0,
    }


def _segments(
    entry: Entry, shot: np.ndarray, fps: Number, shortest: int, longest: int
) -> list[Segment]:
    times = entry.video.times
    first, end = int(shot[0]), int(shot[1])
    count = int((times[end - 1] - times[first]) * fps + 1e-3) + 1
    frames = np.minimum(on_screen(times, times[first] + np.arange(count) / fps), end - 1)
    pieces = [frames[at : at + longest] for at in range(0, count, longest)]
    return [Segment(entry=entry, frames=piece) for piece in pieces if len(piece) >= shortest]


def _metadata(path: Path) -> dict[str, Any]:
    file = path / "metadata.json"
    if not (file.is_file() and (path / "features.json").is_file()):
        raise InputError(f"{path}: no stored set of clips: make one with `vldm data build`")
    return json.loads(file.read_text(encoding="utf-8"))


def _parent(out: Path_) -> str:
    parent = Path(out).absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    return str(parent)


def _count(table: dict[str, int], reason: str) -> None:
    table[reason] = table.setdefault(reason, 0) + 1
