"""The driving clips as a tensorflow-datasets set in ArrayRecord files; no TensorFlow needed.

A record holds all that `data.record_source` reads, so `records_source` opens the set as it is:

    video: mp4 bytes    labels: float32 (2), see `clips.LABELS`    name: bytes
    num_frames: int64   ticks: int64, timestamp units from one frame to the next

and what only a simulator knows: `seed` int64, `box` float32 (n 4) normalised x0 y0 x1 y1,
`box_frame` int32 (n) and `box_car` int32 (n), one row a box (`boxes` defines them).

The splits are ranges of seeds, so they share no clip: train is seed .. seed + clips - 1, test is
`TEST_OFFSET` further on. Records are written in the order of their seeds, each from its seed alone:
the same arguments make the same files, whatever the number of processes.

    build_records("out", clips=1000, test_clips=100)
    tfds.builder_from_directory("out").as_data_source("train")[0]
"""

import contextlib
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tqdm import tqdm

from vldm_jax.core.errors import InputError
from vldm_jax.core.files import atomic_path
from vldm_jax.data.driving.clips import LABELS, render_clip
from vldm_jax.data.driving.pool import run_all
from vldm_jax.data.driving.render import load_panda3d
from vldm_jax.data.read import scan
from vldm_jax.data.write import write_video

TEST_OFFSET = 1_000_000_000
KEY_EVERY = 8
"""Frames between key frames of a stored mp4, so that a window is read without the whole clip."""


class Driving(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """tensorflow-datasets builder of the driving world; `build_records` is the short way."""

    name = "driving"
    VERSION = tfds.core.Version("1.0.0")
    code_path = None  # nothing of this set lies beside its code, so tfds need not look there

    def __init__(
        self,
        data_dir: str | os.PathLike[str],
        *,
        clips: int,
        test_clips: int = 0,
        seed: int = 0,
        num_frames: int = 120,
        fps: float = 30.0,
        size: tuple[int, int] = (128, 256),
        crf: int = 17,
        workers: int | None = None,
    ) -> None:
        """Describe a set; see `build_records` for the arguments.

        Raises:
            InputError: for no clips, or seeds that would run into the test split's.
        """
        if clips < 1 or test_clips < 0 or not 0 <= seed <= TEST_OFFSET - clips:
            raise InputError(
                f"cannot build {clips} + {test_clips} driving clips from seed {seed} in "
                f"{data_dir}: clips >= 1, and seed + clips <= {TEST_OFFSET}"
            )
        self._seeds = {"train": range(seed, seed + clips)}
        if test_clips:
            start = seed + TEST_OFFSET
            self._seeds["test"] = range(start, start + test_clips)
        self._recipe = (num_frames, fps, size, crf)
        self._workers = workers or os.cpu_count() or 1
        super().__init__(data_dir=str(data_dir), file_format="array_record")

    def _info(self) -> tfds.core.DatasetInfo:
        num_frames, fps, (height, width), _ = self._recipe
        features = {
            "video": tfds.features.Text(),
            "labels": tfds.features.Tensor(shape=(len(LABELS),), dtype=np.float32),
            "name": tfds.features.Text(),
            "num_frames": tfds.features.Scalar(np.int64),
            "ticks": tfds.features.Scalar(np.int64),
            "seed": tfds.features.Scalar(np.int64),
            "box": tfds.features.Tensor(shape=(None, 4), dtype=np.float32),
            "box_frame": tfds.features.Tensor(shape=(None,), dtype=np.int32),
            "box_car": tfds.features.Tensor(shape=(None,), dtype=np.int32),
        }
        counts = {name: len(seeds) for name, seeds in self._seeds.items()}
        metadata = {
            "fps": float(fps),
            "height": height,
            "width": width,
            "label_names": list(LABELS),
            "report": f"simulated driving clips: {counts}",
            "num_frames": {name: [num_frames] * count for name, count in counts.items()},
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description="Simulated driving with labels and exact 2D boxes.",
            features=tfds.features.FeaturesDict(features),
            metadata=tfds.core.MetadataDict(metadata),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {name: self._generate_examples(seeds) for name, seeds in self._seeds.items()}

    def _generate_examples(self, seeds: range) -> Iterator[tuple[int, dict[str, Any]]]:
        workers = min(self._workers, len(seeds))
        records = run_all(_make_record, ((seed, *self._recipe) for seed in seeds), workers)
        bar = tqdm(records, "rendering", len(seeds), leave=False, disable=None)
        yield from enumerate(bar)


def build_records(
    out: str | os.PathLike[str],
    *,
    clips: int,
    test_clips: int = 0,
    seed: int = 0,
    num_frames: int = 120,
    fps: float = 30.0,
    size: tuple[int, int] = (128, 256),
    crf: int = 17,
    workers: int | None = None,
) -> None:
    """Render a set of driving clips into the new folder `out`, whole or not at all.

    Args:
        out: the set's own folder; must not exist.
        clips: number of clips of the split "train", >= 1.
        test_clips: number of clips of the split "test", >= 0.
        seed: of the first clip.
        num_frames: frames a clip.
        fps: frames a second.
        size: height and width in pixels.
        crf: x264's constant rate factor; lower is better and bigger.
        workers: processes; None for one a core.

    Raises:
        InputError: if `out` exists, panda3d cannot render, or a number is out of range.
    """
    out = Path(out).absolute()
    if out.exists():
        raise InputError(f"{out}: exists already: give a new folder or remove it")
    load_panda3d()
    out.parent.mkdir(parents=True, exist_ok=True)
    tfds.disable_progress_bar()  # it would show one bar a shard beside ours
    with tempfile.TemporaryDirectory(prefix="driving-", dir=out.parent) as scratch:
        builder = Driving(
            scratch, clips=clips, test_clips=test_clips, seed=seed, num_frames=num_frames,
            fps=fps, size=size, crf=crf, workers=workers,
        )  # fmt: skip
        with contextlib.redirect_stdout(io.StringIO()):  # tfds speaks of downloads
            builder.download_and_prepare()
        with atomic_path(out) as temporary:
            os.replace(builder.data_path, temporary)


def _make_record(seed, num_frames, fps, size, crf):
    clip = render_clip(seed, num_frames, fps, size)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "clip.mp4"
        write_video(path, clip["video"], fps, crf=crf, key_every=KEY_EVERY)
        video, _ = scan(path)
        content = path.read_bytes()
    counts = [len(ids) for ids in clip["ids"]]
    return {
        "video": content,
        "labels": clip["labels"],
        "name": f"seed {seed}",
        "num_frames": num_frames,
        "ticks": int(video.pts[1] - video.pts[0]) if num_frames > 1 else 0,
        "seed": seed,
        "box": np.concatenate(clip["boxes"]),
        "box_frame": np.repeat(np.arange(num_frames, dtype=np.int32), counts),
        "box_car": np.concatenate(clip["ids"]),
    }
