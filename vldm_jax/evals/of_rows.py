"""Figures of the numbers of clips: what extractors found, (n rows d) with a clip first.

Values are plain numbers. What cannot be measured is an error, never a number; what was left out of
a value, or makes it hard to read, is said by a function of the same numbers.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.evals.clipsim import measure_clipsim
from vldm_jax.evals.drift import NAMES
from vldm_jax.evals.flow_rows import parts_of
from vldm_jax.evals.flow_statistics import FEATURES
from vldm_jax.evals.frechet import frechet_distance
from vldm_jax.evals.image_quality import decibels
from vldm_jax.evals.inception_score import inception_score
from vldm_jax.evals.kernel import kernel_distance
from vldm_jax.evals.motion import mean_of_rows
from vldm_jax.evals.seams import space_ratio, time_ratio
from vldm_jax.typing import Float

SPLITS = 10  # of the inception score
Rows = Float[np.ndarray, "n rows d"]
Others = Float[np.ndarray, "m rows d"]


def frechet(x: Rows, y: Others) -> float:
    """Return the Fréchet distance of clips of one row each."""
    return frechet_distance(x[:, 0], y[:, 0])


def few_clips(rows: Rows) -> str:
    """Return a line if there are too few clips for a covariance of full rank."""
    return _few(len(rows), rows.shape[-1], "clips")


def few_flows(rows: Rows) -> str:
    """Return the same of clips by the statistics of their flow."""
    return _few(len(rows), len(FEATURES), "clips")


def few_frames(rows: Rows, drawn: Mapping[str, int] | None = None) -> str:
    """Return the same of the frames that are taken."""
    count = rows[..., 0].size if drawn is None else drawn["frames"]
    return _few(count, rows.shape[-1], "frames")


def _few(count: int, numbers: int, what: str) -> str:
    line = f"{count} {what} for the covariance of {numbers} numbers: only its floor tells what is"
    return f"{line} large" if count <= numbers else ""


def kernel(x: Rows, y: Others) -> float:
    """Return the kernel distance of clips of one row each."""
    return kernel_distance(x[:, 0], y[:, 0])


def frechet_of_frames(x: Rows, y: Others, drawn: Mapping[str, int] | None = None) -> float:
    """Return the Fréchet distance of frames, a row each.

    Args:
        x: of one set.
        y: of the other.
        drawn: how many `frames` of each set are taken, by which `seed`; all if it is not given.
    """
    return frechet_distance(_frames(x, drawn, 0), _frames(y, drawn, 1))


def _frames(rows: Rows, drawn: Mapping[str, int] | None, side: int) -> Float[np.ndarray, "k d"]:
    frames = rows.reshape(-1, rows.shape[-1])
    if drawn is None:
        return frames
    # Places are drawn, not frames: clips that are drawn again for an interval take theirs.
    random = np.random.default_rng([drawn["seed"], side])
    return frames[random.choice(len(frames), drawn["frames"], replace=False)]


def frechet_of_motion(x: Rows, y: Others) -> float:
    """Return the Fréchet distance of the statistics of the flow."""
    return frechet_distance(parts_of(x[:, 0]).statistics, parts_of(y[:, 0]).statistics)


def warp_error(rows: Rows) -> float:
    """Return the mean of what no flow explains, over all pixels that two frames show."""
    parts = parts_of(rows[:, 0])
    if not (share := parts.share.sum()):
        raise InputError("no pixel is visible in two frames: give videos without a cut a frame")
    return float(parts.visible.sum() / share)


def seam_in_time(rows: Rows, borders: Sequence[int]) -> float:
    """Return the warp error at borders over that elsewhere."""
    return time_ratio(parts_of(rows[:, 0]).everywhere, borders)


def seam_in_space(rows: Rows, tiles: Mapping[str, Sequence[int]]) -> float:
    """Return the jump at borders over that of lines near; rows and columns are two rows a clip."""
    lines = rows.astype(np.float64).mean(axis=0)
    # A row that is shorter than the other is filled up with -1: no jump is negative.
    return space_ratio(*(line[line >= 0] for line in lines), **tiles)


def motion(name: str) -> Callable[[Rows], float]:
    """Return a figure of block matching: "change", "flicker" or "motion"."""
    return lambda rows: mean_of_rows(rows[:, 0], name)


def drift(*names: str) -> Callable[[Rows], float]:
    """Return the mean over clips of how far they end from where they began, in a quarter each."""
    columns = [NAMES.index(name) for name in names]

    def of(rows: Rows) -> float:
        quarter = max(rows.shape[1] // 4, 1)
        apart = rows[:, -quarter:].mean(axis=1) - rows[:, :quarter].mean(axis=1)
        return float(np.linalg.norm(apart[:, columns], axis=1).mean())

    return of


def inception(rows: Rows) -> float:
    """Return the inception score of logits, in ten splits."""
    return inception_score(rows[:, 0], splits=SPLITS).mean


def small_splits(rows: Rows) -> str:
    """Return a line if splits are too small for every score: of m clips, none is above m."""
    clips, classes = len(rows) // SPLITS, rows.shape[-1]
    line = f"{SPLITS} splits of {clips} clips each, so no score is above {clips}: give more clips"
    return line if clips < classes else ""


def mean(rows: Rows) -> float:
    """Return the mean over clips of the mean over their frames."""
    return float(rows.astype(np.float64).mean())


def clipsim(rows: Rows) -> float:
    """Return the mean cosine of frames and captions."""
    return measure_clipsim(rows[..., 0]).overall


def psnr(rows: Rows) -> float:
    """Return the mean of decibels over clips and frames, of squared errors.

    A frame that equals its original has no finite PSNR, and is left out; infinite if all do.
    """
    errors = rows.astype(np.float64)
    if not (different := errors > 0).any():
        return math.inf
    of_clips = [decibels(clip[keep]).mean() for clip, keep in zip(errors, different, strict=True)
                if keep.any()]  # fmt: skip
    return float(np.mean(of_clips))


def equal_frames(rows: Rows) -> str:
    """Return a line on frames that have no PSNR."""
    equal = int((rows == 0).sum())
    line = f"{equal} of {rows.size} frames equal their originals"
    return f"{line}: left out" * (equal < rows.size) or line if equal else ""
