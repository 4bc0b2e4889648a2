"""The figures: what each is, by which numbers of clips, and which way is better.

A figure compares the samples' numbers with the real clips' (`against_real`), or is a mean of the
samples' own. Its floor is the same figure with real clips in the place of the samples, as many and
others than those they are compared with: no generator that is right comes below it but by chance.

A new figure is a row here; a new network or measurement is a row in `extractors`.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.evals.agreement import cars_apart, cars_order, night_agreement
from vldm_jax.evals.detect import CARS, NIGHT
from vldm_jax.evals.drift import NAMES
from vldm_jax.evals.frechet import frechet_distance
from vldm_jax.evals.inception_score import inception_score
from vldm_jax.evals.interval import DRAWS, bootstrap_interval
from vldm_jax.evals.kernel import kernel_distance
from vldm_jax.evals.motion import mean_of_rows
from vldm_jax.typing import Float

Rows = Float[np.ndarray, "n rows d"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure.

    Attributes:
        extractor: whose numbers it is made of, a key of `extractors.EXTRACTORS`.
        of: (samples, real) -> value, or of the samples alone; numbers (n rows d), a clip first.
        against_real: whether it compares with real clips.
        better: "lower", "higher", or "floor" if nearer to the real clips' own is better.
        unit: of the value, for a person; "" for none.
        says: what it is, in a line.
        fewest: clips that it takes.
        frames: that a clip must have.
        draws: for its interval; fewer where one takes a second.
        label: name of the label that each clip must have; it stands in the last column of the
            numbers. "" for none.
    """

    extractor: str
    of: Callable[..., float]
    against_real: bool
    better: str
    says: str
    unit: str = ""
    fewest: int = 2
    frames: int = 1
    draws: int = DRAWS
    label: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Value:
    """What a figure was found to be.

    Attributes:
        value: of the samples.
        interval: (low, high), where it would lie for other clips, at 95 %.
        floor: of as many real clips in the place of the samples.
        floor_interval: the same of the floor.
        clips: in each set.
    """

    value: float
    interval: tuple[float, float]
    floor: float
    floor_interval: tuple[float, float]
    clips: int


def evaluate(figure: Figure, samples: Rows, real: Rows, others: Rows, *, seed: int = 0) -> Value:
    """Return a figure of samples, with its floor.

    Args:
        figure: what to measure.
        samples: numbers of the samples.
        real: of the real clips that they are compared with.
        others: of as many other real clips, for the floor.
        seed: of the intervals' draws.

    Raises:
        InputError: for too few clips, or numbers that are not finite.
    """

    def measured(rows: Rows) -> tuple[float, tuple[float, float]]:
        sets = (rows, real) if figure.against_real else (rows,)
        value = figure.of(*sets)
        return value, bootstrap_interval(figure.of, sets, value, draws=figure.draws, seed=seed)

    value, interval = measured(samples)
    floor, floor_interval = measured(others)
    return Value(
        value=value, interval=interval, floor=floor, floor_interval=floor_interval,
        clips=len(samples),
    )  # fmt: skip


def _of_all_rows(distance: Callable[..., float]) -> Callable[[Rows, Rows], float]:
    """Return a distance of the rows of all clips: of frames, where a clip has several."""
    return lambda x, y: distance(x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1]))


def _motion(name: str) -> Callable[[Rows], float]:
    return lambda rows: mean_of_rows(rows[:, 0], name)


def _warp_error(rows: Rows) -> float:
    error, share = rows.reshape(-1, 2).sum(axis=0)
    if not share:
        raise InputError("no pixel is visible in two frames: give videos without a cut a frame")
    return float(error / share)


def _drift(*names: str) -> Callable[[Rows], float]:
    """Return the mean over clips of how far they end from where they began, in a quarter each."""
    columns = [NAMES.index(name) for name in names]

    def of(rows: Rows) -> float:
        quarter = max(rows.shape[1] // 4, 1)
        apart = rows[:, -quarter:].mean(axis=1) - rows[:, :quarter].mean(axis=1)
        return float(np.linalg.norm(apart[:, columns], axis=1).mean())

    return of


def _inception_score(rows: Rows) -> float:
    return inception_score(rows[:, 0], splits=min(10, len(rows))).mean


FRECHET, KERNEL = _of_all_rows(frechet_distance), _of_all_rows(kernel_distance)
FIGURES: dict[str, Figure] = {
    "fvd": Figure(
        extractor="i3d", of=FRECHET, against_real=True, better="lower",
        says="Fréchet distance of clips, I3D logits (Kinetics-400)", frames=2,
    ),
    "kvd": Figure(
        extractor="i3d", of=KERNEL, against_real=True, better="lower",
        says="kernel distance of clips, I3D logits, without bias", frames=2,
    ),
    "frechet_lite0": Figure(
        extractor="efficientnet_lite0", of=FRECHET, against_real=True, better="lower",
        says="Fréchet distance of frames, EfficientNet-lite0: like FID, but not FID", draws=40,
    ),
    "fid": Figure(
        extractor="inception", of=FRECHET, against_real=True, better="lower",
        says="Fréchet distance of frames, Inception-v3 of 2015", draws=40,
    ),
    "is": Figure(
        extractor="c3d", of=_inception_score, against_real=False, better="higher",
        says="inception score of clips, C3D of UCF-101", frames=16, fewest=10,
    ),
    "motion_distance": Figure(
        extractor="flow", of=FRECHET, against_real=True, better="lower",
        says="Fréchet distance of statistics of the optical flow", frames=3,
    ),
    "warp_error": Figure(
        extractor="warp", of=_warp_error, against_real=False, better="floor",
        says="difference of frames from the one before, moved by the optical flow", unit="of 1",
        frames=2,
    ),
    "drift_colour": Figure(
        extractor="look", of=_drift("lightness", "red", "yellow"), against_real=False,
        better="floor", says="how far the mean colour goes from first to last quarter",
        unit="CIELAB", frames=4,
    ),
    "drift_sharpness": Figure(
        extractor="look", of=_drift("sharpness"), against_real=False, better="floor",
        says="how far the variance of the Laplacian goes from first to last quarter",
        unit="L* squared", frames=4,
    ),
    "flicker": Figure(
        extractor="motion", of=_motion("flicker"), against_real=False, better="floor",
        says="change that no motion of blocks explains", unit="of 1", frames=2,
    ),
    "motion": Figure(
        extractor="motion", of=_motion("motion"), against_real=False, better="floor",
        says="mean displacement of textured blocks", unit="pixels a frame", frames=2,
    ),
    "change": Figure(
        extractor="motion", of=_motion("change"), against_real=False, better="floor",
        says="mean difference of consecutive frames", unit="of 1", frames=2,
    ),
    "agreement_night": Figure(
        extractor="detector", of=night_agreement, against_real=False, better="higher",
        says="share of clips that are by day or night as asked, by the driving detector",
        unit="of 1", label=NIGHT,
    ),
    "agreement_cars": Figure(
        extractor="detector", of=cars_apart, against_real=False, better="lower",
        says="mean difference of the cars of a clip from those asked for, by the driving detector",
        unit="cars", label=CARS,
    ),
    "agreement_cars_order": Figure(
        extractor="detector", of=cars_order, against_real=False, better="higher",
        says="rank correlation of the cars of clips with those asked for, by the driving detector",
        label=CARS, fewest=3,
    ),
}  # fmt: skip
DEFAULT = (
    "fvd", "kvd", "frechet_lite0", "motion_distance", "warp_error", "flicker", "motion",
)  # fmt: skip
