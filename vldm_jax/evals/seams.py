"""Seam ratios: the error where chunks or tiles of a video meet, over the error elsewhere.

1.0 where no seam is seen. In time the error is the warp error over all pixels: of the visible ones
alone, a jump that the flow takes for another scene would leave nothing. In space it is the third
difference across a line, the lowest one that lies evenly about it, scaled so that a step of s
between smooth sides gives s, and averaged along stretches of 16 pixels, in which texture cancels
and a step does not:

    jump(r) = mean over stretches |mean over a stretch (x(r+1) - 3 x(r) + 3 x(r-1) - x(r-2))| / 2

Pictures differ from top to bottom, so a line is compared with those near it. Half a grey level is
added above and below, so that what eight bits can't tell apart is no seam. Some pictures have a
line of their own at a border, as the horizon of a camera in a car: divide by real clips' ratio.
"""

from collections.abc import Sequence

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.evals.warp import warp_errors
from vldm_jax.typing import Float, PyTree, UInt8

FLOOR = 0.5 / 255
STRETCH = 16
REACH = 8  # lines to either side that a border is compared with


def seam_ratio_in_time(
    params: PyTree, videos: UInt8[np.ndarray, "b t h w 3"], borders: Sequence[int]
) -> float:
    """Return the warp error at borders in time over that elsewhere, a mean over videos.

    Args:
        params: of `load_flow_weights`.
        videos: frames with values in [0, 255].
        borders: k where frames k - 1 and k come from different chunks.

    Raises:
        InputError: if there is no border, one is no frame after the first, or all frames are.
    """
    return time_ratio(warp_errors(params, videos).everywhere, borders)


def time_ratio(errors: Float[np.ndarray, "b pairs"], borders: Sequence[int]) -> float:
    """Return the same of errors in [0, 1] that are known; `borders` as above, errors[k - 1] theirs.

    Raises:
        InputError: as `seam_ratio_in_time`.
    """
    pairs = errors.shape[1]
    at = np.zeros(pairs, bool)
    at[_checked(borders, 1, pairs, "frames") - 1] = True
    if at.all():
        raise InputError("every frame begins at a border: leave some to compare with")
    ratios = (errors[:, at].mean(axis=1) + FLOOR) / (errors[:, ~at].mean(axis=1) + FLOOR)
    return float(ratios.mean())


def seam_ratio_in_space(
    videos: UInt8[np.ndarray, "b t h w 3"],
    *,
    rows: Sequence[int] = (),
    columns: Sequence[int] = (),
) -> float:
    """Return the jump across border lines over that across lines near them, a mean over borders.

    Args:
        videos: frames with values in [0, 255].
        rows: r where rows r - 1 and r come from different tiles.
        columns: the same of columns.

    Raises:
        InputError: if there is no border, one has fewer than two pixels to a side, or only other
            borders near it.
    """
    parts = [np.mean([jumps(video, axis) for video in videos], axis=0) for axis in (1, 2)]
    return space_ratio(*parts, rows=rows, columns=columns)


def space_ratio(
    of_rows: Float[np.ndarray, " n"],
    of_columns: Float[np.ndarray, " m"],
    *,
    rows: Sequence[int] = (),
    columns: Sequence[int] = (),
) -> float:
    """Return the same of jumps that are known, means over videos of those of `jumps`.

    Raises:
        InputError: as `seam_ratio_in_space`.
    """
    if not len(rows) and not len(columns):
        raise InputError("no borders of tiles are given: give rows or columns")
    ratios = []
    for found, borders, name in ((of_rows, rows, "rows"), (of_columns, columns, "columns")):
        if len(borders):
            ratios += _ratios(found, _checked(borders, 2, len(found) + 1, name), name)
    return float(np.mean(ratios))


def jumps(video: UInt8[np.ndarray, "t h w 3"], axis: int) -> Float[np.ndarray, " lines"]:
    """Return the mean jump before the lines from 2 to n - 2, in [0, 1].

    Args:
        video: frames with values in [0, 255].
        axis: 1 for rows, 2 for columns.
    """
    x = np.moveaxis(video, axis, 1).astype(np.int16)
    third = x[:, 3:] - 3 * x[:, 2:-1] + 3 * x[:, 1:-2] - x[:, :-3]
    stretches = np.array_split(third, max(x.shape[2] // STRETCH, 1), axis=2)
    means = np.stack([stretch.mean(axis=2) for stretch in stretches], axis=2)
    return np.abs(means).mean(axis=(0, 2, 3)) / (2 * 255)


def _ratios(jumps: Float[np.ndarray, " lines"], borders: np.ndarray, name: str) -> list[float]:
    lines = np.arange(2, 2 + len(jumps))
    ratios = []
    for border in borders:
        # A step is seen by the third differences one line away, too.
        near = (np.abs(lines - border) <= REACH) & (
            np.abs(lines[:, None] - borders[None, :]).min(axis=1) > 1
        )
        if not near.any():
            raise InputError(f"{name} {border}: only borders are near it; give fewer")
        ratios.append((jumps[border - 2] + FLOOR) / (jumps[near].mean() + FLOOR))
    return ratios


def _checked(borders: Sequence[int], low: int, high: int, name: str) -> np.ndarray:
    found = np.unique(np.asarray(borders, int))
    if not len(found) or found[0] < low or found[-1] > high:
        raise InputError(f"borders {list(borders)}: give {name} from {low} to {high}")
    return found
