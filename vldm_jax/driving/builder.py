"""The driving clips as a tensorflow-datasets set in ArrayRecord files; no TensorFlow needed.

A record holds what `data.record_set` asks for, so `records_source` opens the set as it is,
and what only a simulator knows: `seed` int64, `box` float32 (n 4) normalised x0 y0 x1 y1,
`box_frame` int32 (n) and `box_car` int32 (n), one row a box (`boxes` defines them).

The splits are ranges of seeds, so they share no clip: train is seed .. seed + clips - 1, test is
`TEST_OFFSET` further on. Records are written in the order of their seeds, each from its seed alone:
the same arguments make the same files, whatever the number of processes.

    build_records("out", clips=1000, test_clips=100)
    tfds.builder_from_directory("out").as_data_source("train")[0]
"""

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from vldm_jax.core.errors import InputError
from vldm_jax.core.files import check_new
from vldm_jax.core.progress import tracked
from vldm_jax.data.read import scan
from vldm_jax.data.record_files import KEY_EVERY
from vldm_jax.data.record_set import ClipSet, Records, write_set
from vldm_jax.data.write import check_crf, write_video
from vldm_jax.driving.clips import LABELS, check_clip, open_canvas, render_clip
from vldm_jax.driving.pool import run_all

TEST_OFFSET = 1_000_000_000


FEATURES = {
    "seed": tfds.features.Scalar(np.int64),
    "box": tfds.features.Tensor(shape=(None, 4), dtype=np.float32),
    "box_frame": tfds.features.Tensor(shape=(None,), dtype=np.int32),
    "box_car": tfds.features.Tensor(shape=(None,), dtype=np.int32),
}


class Driving(ClipSet, skip_registration=True):
    """Simulated clips."""

    name = "driving"


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
    check_new(out)
    if clips < 1 or test_clips < 0 or not 0 <= seed <= TEST_OFFSET - clips:
        raise InputError(
            f"cannot build {clips} + {test_clips} driving clips from seed {seed} in {out}: "
            f"clips >= 1, and seed + clips <= {TEST_OFFSET}"
        )
    check_clip(seed, num_frames, fps, size)
    check_crf(crf)
    open_canvas(*size)
    seeds = {"train": range(seed, seed + clips)}
    if test_clips:
        seeds["test"] = range(seed + TEST_OFFSET, seed + TEST_OFFSET + test_clips)
    counts = {name: len(part) for name, part in seeds.items()}
    metadata = {
        "fps": float(fps),
        "height": size[0],
        "width": size[1],
        "label_names": list(LABELS),
        "report": f"simulated driving clips: {counts}",
        "num_frames": {name: [num_frames] * count for name, count in counts.items()},
    }
    recipe = (num_frames, fps, size, crf)
    makers = {name: partial(_generate, part, recipe, workers) for name, part in seeds.items()}
    write_set(out, Driving, makers, metadata, FEATURES)


def _generate(seeds: range, recipe: tuple[Any, ...], workers: int | None, scratch: Path) -> Records:
    workers = min(workers or os.cpu_count() or 1, len(seeds))
    records = run_all(_make_record, ((scratch, seed, *recipe) for seed in seeds), workers)
    yield from enumerate(tracked(records, "rendering", len(seeds), "clip"))


def _make_record(scratch, seed, num_frames, fps, size, crf):
    clip = render_clip(seed, num_frames, fps, size)
    path = scratch / f"{seed}.mp4"
    write_video(path, clip["video"], fps, crf=crf, key_every=KEY_EVERY)
    video, _ = scan(path)
    content = path.read_bytes()
    path.unlink()
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
