"""Which lamps have a halo at night, and where it falls in the picture."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vldm_jax.driving.objects import WARM_LAMP
from vldm_jax.driving.scenery import LAMP_HEIGHT, LAMP_SIDES, LAMP_SPACING
from vldm_jax.driving.shading import Glow
from vldm_jax.driving.vehicles import lamps
from vldm_jax.driving.world import Road
from vldm_jax.typing import Float

HEAD, TAIL, BRAKE = (0.75, 0.72, 0.60), (0.42, 0.03, 0.02), (0.75, 0.06, 0.04)
STREET_SIGHT, FADE = 240.0, 260.0
SMALLEST, LARGEST = 1.6 / 256, 26.0 / 256
"""Radius of a halo over the picture's height."""


@dataclass(frozen=True)
class Lamps:
    """Lamps of one kind: world positions (n 3), halo radius in metres, colour."""

    points: Float[np.ndarray, "n 3"]
    radius: float
    color: tuple[float, float, float]


def street_lamps(road: Road, s: float) -> Lamps:
    """Return the street lamps ahead of s."""
    first = np.ceil(s / LAMP_SPACING) * LAMP_SPACING
    posts = np.arange(first, s + STREET_SIGHT, LAMP_SPACING)
    along = np.repeat(posts, len(LAMP_SIDES))
    across = np.tile(np.array(LAMP_SIDES), len(posts))
    points = road.point(along, across, np.full_like(along, LAMP_HEIGHT))
    return Lamps(points, 1.1, tuple(0.42 * c for c in WARM_LAMP))


def car_lamps(kind: str, oncoming: bool, braking: bool, place: Callable) -> Lamps:
    """Return the lamps that face us: head lamps of oncoming cars, tail lamps of the others.

    Args:
        kind: of vehicle.
        oncoming: whether it drives towards us.
        braking: whether its brake lights are on.
        place: takes points from the vehicle's frame to the world.
    """
    at = lamps(kind)
    if oncoming:
        return Lamps(place(at.head), 0.75, HEAD)
    return Lamps(place(at.tail), 0.50, BRAKE if braking else TAIL)


def project_lamps(
    spots: list[Lamps],
    eye: Float[np.ndarray, " 3"],
    axes: Float[np.ndarray, "3 3"],
    focal: float,
    size: tuple[int, int],
) -> list[Glow]:
    """Return the halos of all lamps in front of the camera.

    Args:
        spots: lamps in the world.
        eye: the camera's position.
        axes: its rows right, up, forward.
        focal: focal length in samples.
        size: height and width of the picture, samples.
    """
    height, width = size
    glows = []
    for lamp in spots:
        for x, y, z in (lamp.points - eye) @ axes.T:
            if z > 2.0:
                radius = np.clip(focal * lamp.radius / z, SMALLEST * height, LARGEST * height)
                fade = float(np.exp(-z / FADE))
                glows.append(
                    Glow(
                        x=float(width / 2 + focal * x / z),
                        y=float(height / 2 - focal * y / z),
                        depth=float(z),
                        radius=float(radius),
                        color=tuple(fade * c for c in lamp.color),
                    )
                )
    return glows
