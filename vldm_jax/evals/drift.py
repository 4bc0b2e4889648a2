"""Drift: how colour, contrast and sharpness of long videos change from beginning to end.

Of every frame, in CIELAB of sRGB's white (D65), where equal steps look about equal:

    lightness    mean L*, from 0 to 100
    red          mean a*, negative towards green
    yellow       mean b*, negative towards blue
    contrast     standard deviation of L*
    sharpness    variance of the Laplacian of L*, four neighbours; in squares of L*

Scenes change by themselves: compare with real clips of the same length.

Source: CIE 15, and for the sharpness Pech-Pacheco et al., Diatom autofocusing, ICPR 2000.
"""

import dataclasses

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.typing import Float, UInt8

NAMES = ("lightness", "red", "yellow", "contrast", "sharpness")
FRAMES = 16  # that are in memory as Lab at once

_TO_XYZ = np.asarray(  # IEC 61966-2-1
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
)
_WHITE = _TO_XYZ.sum(axis=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drift:
    """Means over videos, {name: number} with the names and units of the module's docstring.

    Attributes:
        slope: of the straight line of least squares through the frames, a second.
        difference: mean of the last second minus that of the first.
        size: mean of the difference's absolute value, which videos that drift in opposite
            directions don't cancel.
    """

    slope: dict[str, float]
    difference: dict[str, float]
    size: dict[str, float]


def drift(videos: UInt8[np.ndarray, "b t h w 3"], fps: float) -> Drift:
    """Return how a set of videos drifts.

    Args:
        videos: frames with values in [0, 255].
        fps: frames a second.

    Raises:
        InputError: if there is no video, they are shorter than two seconds or than three pixels.
    """
    b, t, h, w, _ = videos.shape
    second = max(round(fps), 1)
    if not b or t < 2 * second or min(h, w) < 3:
        raise InputError(
            f"videos of shape {videos.shape} at {fps:g} fps: give two seconds of three pixels a "
            "side at least"
        )
    figures = np.stack([frame_figures(video) for video in videos])
    times = (np.arange(t) - (t - 1) / 2) / fps
    slopes = np.einsum("t,btk->bk", times, figures) / np.sum(times**2)
    differences = figures[:, -second:].mean(axis=1) - figures[:, :second].mean(axis=1)
    named = [
        dict(zip(NAMES, values.mean(axis=0).tolist(), strict=True))
        for values in (slopes, differences, np.abs(differences))
    ]
    return Drift(slope=named[0], difference=named[1], size=named[2])


def frame_figures(video: UInt8[np.ndarray, "t h w 3"]) -> Float[np.ndarray, "t 5"]:
    """Return the figures of each frame, in the order of `NAMES`."""
    parts = np.split(video, range(FRAMES, len(video), FRAMES))
    return np.concatenate([_figures(lab(part)) for part in parts])


def _figures(image: Float[np.ndarray, "t h w 3"]) -> Float[np.ndarray, "t 5"]:
    light = image[..., 0]
    middle = light[:, 1:-1, 1:-1]
    around = light[:, :-2, 1:-1] + light[:, 2:, 1:-1] + light[:, 1:-1, :-2] + light[:, 1:-1, 2:]
    sharpness = np.var(around - 4 * middle, axis=(1, 2))
    contrast = np.std(light, axis=(1, 2))
    return np.concatenate([image.mean(axis=(1, 2)), np.stack([contrast, sharpness], -1)], -1)


def lab(frames: UInt8[np.ndarray, "*shape 3"]) -> Float[np.ndarray, "*shape 3"]:
    """Return sRGB of [0, 255] as CIELAB.

    Source: IEC 61966-2-1 and CIE 15.
    """
    level = np.arange(256) / 255
    linear = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    xyz = linear[frames] @ (_TO_XYZ / _WHITE[:, None]).T
    edge = 6 / 29
    f = np.where(xyz > edge**3, np.cbrt(xyz), xyz / (3 * edge**2) + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
