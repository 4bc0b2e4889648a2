"""Consecutive frames of videos, a few pairs at a time, so that memory doesn't grow with a set."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.typing import Array, Float, PyTree, UInt8

PAIRS = 8  # that are in memory at once


def over_pairs(function: Callable[..., PyTree], videos: UInt8[np.ndarray, "b t h w 3"]) -> PyTree:
    """Return a tree of NumPy arrays (b t-1 ...): a function of each frame and the next one.

    Args:
        function: `f(before, after)` of uint8 frames (n h w 3) to arrays that lead with n; n is
            always the same.
        videos: frames with values in [0, 255].

    Raises:
        InputError: if there is no video or fewer than two frames.
    """
    b, t = videos.shape[:2]
    if not b or t < 2:
        raise InputError(f"videos of shape {videos.shape}: give one video of two frames at least")
    count = b * (t - 1)
    parts = []
    for start in range(0, count, PAIRS):
        which = np.minimum(np.arange(start, start + PAIRS), count - 1)
        video, frame = np.divmod(which, t - 1)
        pair = (jnp.asarray(videos[video, later]) for later in (frame, frame + 1))
        parts.append(jax.device_get(function(*pair)))
    return jax.tree.map(
        lambda *leaves: np.concatenate(leaves)[:count].reshape(b, t - 1, *leaves[0].shape[1:]),
        *parts,
    )


def to_x(frames: UInt8[Array, "n h w 3"]) -> Float[Array, "n h w 3"]:
    """Return frames of [0, 255] in [-1, 1]."""
    return frames.astype(jnp.float32) / 127.5 - 1.0
