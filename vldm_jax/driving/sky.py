"""Colours of the air: sky panorama with clouds and far hills, fog, and the light of the hour."""

from dataclasses import dataclass

import numpy as np

from vldm_jax.driving.world import Spec, make_rng
from vldm_jax.typing import Float

RGB = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Look:
    """Colours that one clip's light is made of, RGB in [0, 1] (light may exceed 1).

    Attributes:
        zenith: sky high up.
        horizon: sky at the horizon, and the fog.
        cloud: colour and, in the last place, strength of the clouds.
        hills: the far hills' silhouette.
        tint: factor on the albedo of all that does not shine by itself.
        light: brightness of the hour, a factor on the same.
    """

    zenith: RGB
    horizon: RGB
    cloud: tuple[float, float, float, float]
    hills: RGB
    tint: RGB
    light: float


COOL = Look(
    zenith=(0.48, 0.60, 0.76),
    horizon=(0.80, 0.85, 0.90),
    cloud=(0.90, 0.92, 0.94, 0.8),
    hills=(0.58, 0.66, 0.72),
    tint=(0.90, 0.95, 1.00),
    light=1.0,
)
WARM = Look(
    zenith=(0.20, 0.46, 0.88),
    horizon=(0.93, 0.88, 0.78),
    cloud=(1.00, 0.97, 0.92, 0.9),
    hills=(0.50, 0.56, 0.66),
    tint=(1.08, 1.00, 0.88),
    light=1.0,
)
NIGHT = Look(
    zenith=(0.025, 0.035, 0.11),
    horizon=(0.11, 0.13, 0.24),
    cloud=(0.16, 0.17, 0.26, 0.5),
    hills=(0.04, 0.05, 0.10),
    tint=(0.87, 0.87, 1.00),
    light=0.60,
)


def make_look(spec: Spec) -> Look:
    """Return the colours of the spec's hour: night, or day between `COOL` and `WARM` by tint."""
    if spec.night:
        return NIGHT
    names = ("zenith", "horizon", "cloud", "hills", "tint")
    mixed = {
        name: tuple(
            float(a + (b - a) * spec.tint)
            for a, b in zip(getattr(COOL, name), getattr(WARM, name), strict=True)
        )
        for name in names
    }
    return Look(light=1.0, **mixed)


def make_panorama(
    spec: Spec, look: Look, focal: float, azimuth: Float[np.ndarray, " w"], rows: tuple[int, int]
) -> Float[np.ndarray, "3 h w"]:
    """Return the sky as seen at `focal` pixels a radian.

    Args:
        spec: seed of clouds and hills.
        look: colours.
        focal: pixels a radian.
        azimuth: of each column, radians clockwise from north.
        rows: how many above the horizon and below it.
    """
    above, below = rows
    rng = make_rng(spec.seed, "sky")
    elevation = ((above - 0.5 - np.arange(above + below)) / focal)[:, None].astype(np.float32)
    up = np.clip(elevation / 0.42, 0.0, 1.0) ** 0.7
    clouds = _clouds(rng, azimuth, elevation[:above]) * np.float32(look.cloud[3])
    ridges = [
        0.45 * high + 0.55 * high * _ridge(rng, azimuth, (3, 5, 8, 13, 21 + 6 * layer))
        for layer, high in enumerate((0.075, 0.045))
    ]
    inside = [
        np.clip((r[None, :] - elevation) * focal, 0.0, 1.0).astype(np.float32) for r in ridges
    ]
    planes = []
    for c in range(3):
        low = look.horizon[c]
        plane = np.repeat(low + (look.zenith[c] - low) * up, len(azimuth), axis=1)
        plane[:above] += (look.cloud[c] - plane[:above]) * clouds
        for cover, fade in zip(inside, (0.55, 0.25), strict=True):
            plane += (look.hills[c] + (low - look.hills[c]) * fade - plane) * cover
        planes.append(plane)
    return np.stack(planes).astype(np.float32)


def _ridge(rng, azimuth, waves):
    """A sum of sines that closes around the circle, about in [0, 1]."""
    total = sum(np.sin(k * azimuth + rng.uniform(0, 2 * np.pi)) / np.sqrt(k) for k in waves)
    return np.clip(0.5 + 0.33 * total, 0.0, 1.2)


def _clouds(rng, azimuth, elevation):
    """Coverage in [0, 1]; clouds get flatter towards the horizon, as a high layer does."""
    flat = 1.0 / (np.maximum(elevation, 0.0) + 0.09)
    total = np.zeros((len(elevation), len(azimuth)), np.float32)
    across = azimuth[None, :].astype(np.float32)
    for k in (4, 7, 11, 17, 26):
        phase, tilt = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.2)
        bend = (tilt * k * 0.22 * flat + phase).astype(np.float32)
        total += np.sin(k * across + bend) / np.float32(k**0.4)
    cover = np.clip((total - 0.25) / 1.1, 0.0, 1.0)
    return cover * np.clip(elevation / 0.08, 0.0, 1.0)
