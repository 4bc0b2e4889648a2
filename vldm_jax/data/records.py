"""A folder of videos turned once into a tensorflow-datasets ArrayRecord set.

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
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Int
from tqdm import tqdm

from vldm_jax.core.errors import InputError
from vldm_jax.core.files import atomic_path
from vldm_jax.data.folder import Entry, read_folder
from vldm_jax.data.read import scan
from vldm_jax.data.source import decode_clip
from vldm_jax.data.windows import SLOWEST, held_out, on_screen
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
    dropped: Counter[str] = Counter()
    for entry in scanned.entries:
        if entry.video.height < height or entry.video.width < width:
            dropped[f"videos smaller than {height}x{width}"] += 1
        elif entry.video.fps < SLOWEST * fps:
            dropped[f"videos slower than {fps:g} fps"] += 1
        else:
            for number, shot in enumerate(entry.shots):
                split = "test" if held_out(entry.name, number, test_fraction) else "train"
                pieces = _segments(entry, shot, fps, shortest, longest)
                splits[split] += pieces
                dropped[f"shots shorter than {shortest} frames at {fps:g} fps"] += not pieces
    dropped = +dropped
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
    _write(Path(out), {k: v for k, v in splits.items() if v}, metadata, crf, threads)
    return report


def _write(
    out: Path,
    splits: dict[str, list[Segment]],
    metadata: dict[str, Any],
    crf: int,
    threads: int | None,
) -> None:
    parent = out.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    tfds.disable_progress_bar()  # it would show one bar a shard beside ours
    with tempfile.TemporaryDirectory(prefix=".records-", dir=parent) as scratch:
        builder = _Builder(scratch, splits, metadata, crf, threads)
        with contextlib.redirect_stdout(io.StringIO()):  # tfds speaks of downloads
            builder.download_and_prepare()
        with atomic_path(out) as temporary:
            os.replace(builder.data_path, temporary)


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
