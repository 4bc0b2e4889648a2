"""Windows of several frame rates in one source, from each rate as many.

An interpolation model is trained on 7.5 and 30 fps at once. A video has fewer windows at a low
rate, so those come several times in an epoch.

Source: Align your Latents, arXiv:2304.08818, Sec. 3.3.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from vldm_jax.core.errors import InputError
from vldm_jax.data.faults import Path_


class Cut(NamedTuple):
    """Windows of one video at one rate.

    Attributes:
        video: its number.
        frames: (windows t) indices.
        fps: frames per second.
    """

    video: int
    frames: Int[np.ndarray, "windows t"]
    fps: float


class Windows(NamedTuple):
    """Windows of a source.

    Attributes:
        video: number of each one's video.
        frames: indices of each one's frames.
        fps: rate of each.
    """

    video: Int[np.ndarray, " n"]
    frames: Int[np.ndarray, "n t"]
    fps: Float[np.ndarray, " n"]


def rates_of(
    path: Path_, fps: float | int, more: Sequence[float | int], *, still: bool
) -> tuple[float, ...]:
    """Return the rates of a source, the first of them its own.

    Args:
        path: of the source, for messages.
        fps: its rate.
        more: further ones.
        still: whether its examples are images, which have no rate.

    Raises:
        InputError: if one is no rate, or comes twice.
    """
    rates = (fps, *more)
    for rate in rates:
        if type(rate) not in (int, float) or not 0 < rate < float("inf"):
            raise InputError(f"{path}: fps must be positive, got {rate}")
    if len(set(rates)) < len(rates) or (more and still):
        raise InputError(
            f"{path}: fps {fps} and more_fps {tuple(more)} must each be another, and only clips "
            "have several: num_frames of at least 2"
        )
    return tuple(map(float, rates))


def joined(cuts: Sequence[Cut]) -> Windows:
    """Return all windows, rate after rate, of each rate as many.

    Args:
        cuts: with at least one window a rate, in an order in which rates do not mix.
    """
    rates = np.repeat([cut.fps for cut in cuts], [len(cut.frames) for cut in cuts])
    video = np.repeat([cut.video for cut in cuts], [len(cut.frames) for cut in cuts])
    frames = np.concatenate([cut.frames for cut in cuts])
    found = [np.flatnonzero(rates == rate) for rate in dict.fromkeys(rates.tolist())]
    most = max(map(len, found))
    rows = np.concatenate([np.resize(one, most) for one in found])
    return Windows(video[rows].astype(np.int32), frames[rows], rates[rows].astype(np.float64))
