"""What a clip shows before anything moves or is drawn: its spec and its road, as plain NumPy.

A clip is a pure function of one seed. `make_spec` draws the few things that tell clips apart (night
or day, scenery, curvature, density, tint); `Road` is the centre line of our carriageway.

Coordinates: the world is x right, y ahead (north), z up, in metres. The road is addressed by `s`,
metres along the centre line, and `d`, metres to its *right*. Headings are radians clockwise from
north, so the road's derivative is (sin h, cos h) and its right-hand normal (cos h, -sin h).

    heading(s)   = integral of curvature;  curvature = sum_i A_i sin(2 pi s / l_i + p_i)
    elevation(s) = sum_i B_i sin(2 pi s / m_i + q_i)

Nothing here knows about cars, meshes or pixels.
"""

from dataclasses import dataclass

import numpy as np

from vldm_jax.typing import Float

SCENERIES = ("forest", "city", "fields")
LANES = (-3.6, 0.0, 3.6)
"""Centres of our three lanes, left to right; traffic keeps to the right-hand carriageway."""
ONCOMING_LANES = (-12.6, -16.2)
EYE_HEIGHT = 1.45
BEHIND, AHEAD = 80.0, 340.0
"""Metres of road that exist behind the start and beyond the last position of the ego car."""


@dataclass(frozen=True, kw_only=True)
class Spec:
    """The few choices that tell one clip from another.

    Attributes:
        seed: what everything else is drawn from.
        night: whether it is night.
        scenery: one of `SCENERIES`.
        curvature: amplitude of the road's curvature in 1/m (0 is straight).
        hills: amplitude of the road's slope (rise over run).
        density: vehicles a metre and lane.
        tint: in [0, 1], from a cool overcast sky to a warm clear one.
        sun: azimuth of the sun in radians clockwise from north.
    """

    seed: int
    night: bool
    scenery: str
    curvature: float
    hills: float
    density: float
    tint: float
    sun: float


def make_rng(seed: int, name: str) -> np.random.Generator:
    """Return the generator of one named stream of a clip, so that parts do not shift each other."""
    return np.random.default_rng([seed, *name.encode()])


def make_spec(seed: int) -> Spec:
    """Draw the spec of clip `seed`: 40 % night, the sceneries equally often, all else uniform.

    Args:
        seed: any non-negative integer.
    """
    rng = make_rng(seed, "spec")
    return Spec(
        seed=seed,
        night=bool(rng.random() < 0.4),
        scenery=SCENERIES[rng.integers(len(SCENERIES))],
        curvature=float(rng.uniform(0.0003, 0.0030)),
        hills=float(rng.uniform(0.0, 0.025)),
        density=float(rng.uniform(0.002, 0.035)),
        tint=float(rng.uniform()),
        sun=float(rng.uniform(-1.2, 1.2)),
    )


class Road:
    """The centre line of our carriageway, tabulated every metre and interpolated linearly.

    Attributes:
        s: (n) the tabulated positions, from -BEHIND on.
    """

    def __init__(self, spec: Spec, length: float) -> None:
        """Lay out the road for an ego car that starts at s = 0 and travels at most `length` m."""
        rng = make_rng(spec.seed, "road")
        self.s = np.arange(-BEHIND, length + AHEAD, 1.0)
        waves = ((1.0, 520.0, 900.0), (0.5, 240.0, 400.0))
        curvature = sum(
            spec.curvature * gain * _wave(self.s, rng, low, high) for gain, low, high in waves
        )
        slope = spec.hills * _wave(self.s, rng, 350.0, 700.0)
        self._heading = np.cumsum(curvature)
        self._heading -= np.interp(0.0, self.s, self._heading)
        self._x = np.cumsum(np.sin(self._heading))
        self._y = np.cumsum(np.cos(self._heading))
        self._z = np.cumsum(slope)
        self._slope = np.asarray(slope)

    def heading(self, s: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
        """Return the road's heading at s, radians clockwise from north."""
        return np.interp(s, self.s, self._heading)

    def slope(self, s: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
        """Return rise over run at s."""
        return np.interp(s, self.s, self._slope)

    def point(
        self,
        s: Float[np.ndarray, "*n"],
        d: Float[np.ndarray, "*n"],
        h: Float[np.ndarray, "*n"],
    ) -> Float[np.ndarray, "*n 3"]:
        """Return world coordinates of (along, right of centre, above the road), in metres."""
        heading = self.heading(s)
        x = np.interp(s, self.s, self._x) + d * np.cos(heading)
        y = np.interp(s, self.s, self._y) - d * np.sin(heading)
        return np.stack([x, y, np.interp(s, self.s, self._z) + h], axis=-1)


def _wave(s, rng, low, high):
    length, phase = rng.uniform(low, high), rng.uniform(0, 2 * np.pi)
    return np.sin(2 * np.pi * s / length + phase)
