"""What a clip's optical flow is like, in 29 numbers: features for a Fréchet distance of motion.

Of the flows between all consecutive frames of a clip, in pixels a frame:

    16  mean length in each cell of a grid of 4 x 4, row by row
     2  mean displacement to the right and down
     1  standard deviation of the length, over pixels and time
     8  mean length by direction: right, right-down, down, ..., each pixel shared between the two
        directions next to its own, so that the eight add up to the mean length
     1  standard deviation over time of a frame's mean length: does it move evenly?
     1  mean length of the flow's change from one pair of frames to the next

The last two are zero of a single pair. All are continuous, and zero for a frozen clip. They are
pixels a frame: compare clips of one size and frame rate. A mean over pixels says nothing about
looks; that is what FVD is for.
"""

import functools

import jax
import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.evals.flow import optical_flow
from vldm_jax.evals.pairs import over_pairs, to_x
from vldm_jax.typing import Array, Float, PyTree, UInt8

GRID = 4
DIRECTIONS = 8
FEATURES = (
    *(f"length_{row}_{column}" for row in range(GRID) for column in range(GRID)),
    *("right", "down", "length_deviation"),
    *(f"direction_{45 * index}" for index in range(DIRECTIONS)),
    *("unevenness", "change"),
)


def flow_features(
    params: PyTree, videos: UInt8[np.ndarray, "b t h w 3"]
) -> Float[np.ndarray, "b 29"]:
    """Return the features of each clip, named by `FEATURES`.

    Args:
        params: of `load_flow_weights`.
        videos: frames with values in [0, 255]; the flows of one clip are in memory at a time.

    Raises:
        InputError: if there is no clip, it has fewer than three frames or a side below four pixels.
    """
    b, t, h, w, _ = videos.shape
    if not b or t < 3 or min(h, w) < GRID:
        raise InputError(
            f"clips of shape {videos.shape}: give at least one, of three frames of {GRID}x{GRID}"
        )
    ask = functools.partial(_flow, params)
    return np.stack([flow_statistics(over_pairs(ask, video[None])[0]) for video in videos])


def flow_statistics(flows: Float[np.ndarray, "t h w 2"]) -> Float[np.ndarray, " 29"]:
    """Return the features of a clip whose flows are known; flows: pixels to the right and down."""
    length = np.linalg.norm(flows, axis=-1)
    bands = np.array_split(length.mean(axis=0), GRID, axis=0)
    cells = [cell.mean() for band in bands for cell in np.array_split(band, GRID, axis=1)]
    steps = np.linalg.norm(np.diff(flows, axis=0), axis=-1)
    change = steps.mean() if len(steps) else 0.0
    unevenness = length.mean(axis=(1, 2)).std()
    return np.asarray(
        [*cells, *flows.mean(axis=(0, 1, 2)), length.std(), *_by_direction(flows, length)]
        + [unevenness, change],
        np.float64,
    )


def _by_direction(
    flows: Float[np.ndarray, "t h w 2"], length: Float[np.ndarray, "t h w"]
) -> list[float]:
    turn = np.arctan2(flows[..., 1], flows[..., 0]) * (DIRECTIONS / (2 * np.pi))
    means = []
    for index in range(DIRECTIONS):
        half = DIRECTIONS / 2
        away = np.abs((turn - index + half) % DIRECTIONS - half)
        means.append(float((length * np.maximum(1 - away, 0)).mean()))
    return means


@jax.jit
def _flow(
    params: PyTree, before: UInt8[Array, "n h w 3"], after: UInt8[Array, "n h w 3"]
) -> Float[Array, "n h w 2"]:
    return optical_flow(params, to_x(before), to_x(after))
