"""What a car looks like: low-poly bodies with windows, wheels and lamps, big clear shapes.

Local frame: x right, y ahead, z up, origin on the road under the centre of the vehicle.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from vldm_jax.driving.mesh import Quads, box, join, make_quads
from vldm_jax.typing import Float

PALETTE = (
    (0.90, 0.10, 0.10),
    (0.12, 0.28, 0.90),
    (0.98, 0.78, 0.08),
    (0.96, 0.96, 0.96),
    (0.14, 0.14, 0.17),
    (0.10, 0.62, 0.30),
    (0.98, 0.45, 0.08),
    (0.62, 0.66, 0.72),
)
GLASS, RUBBER, DARK = (0.13, 0.17, 0.22), (0.06, 0.06, 0.07), (0.16, 0.16, 0.18)
SHADOW = (0.16, 0.16, 0.17)
SIZES = {"sedan": (1.84, 4.5, 1.45), "wagon": (1.96, 4.7, 1.85), "truck": (2.5, 8.5, 3.3)}
"""Width, length and height in metres: the box whose projection is a car's 2D box."""


@dataclass(frozen=True)
class Lamps:
    """Where the lamps sit: (2, 3) positions each, local frame, metres."""

    tail: Float[np.ndarray, "2 3"]
    head: Float[np.ndarray, "2 3"]


@cache
def body(kind: str, color: int) -> Quads:
    """Return the quads of one vehicle without its lamps.

    Args:
        kind: a key of `SIZES`.
        color: index into `PALETTE`.
    """
    paint = PALETTE[color]
    width, length, height = SIZES[kind]
    w, half = width / 2, length / 2
    shadow = make_quads(_flat(-w - 0.15, w + 0.15, -half - 0.2, half + 0.2, 0.04), SHADOW)
    parts = [shadow, *_wheels(w, half, 0.34 if kind != "truck" else 0.5)]
    if kind == "truck":
        parts += [
            box((-w, w), (half - 2.0, half), (0.5, 2.7), paint, inset=(0.05, 0.0, 0.35)),
            box((-w, w), (-half, half - 2.3), (0.9, height), (0.93, 0.93, 0.90)),
            box((-w + 0.1, w - 0.1), (-half + 0.1, half - 0.2), (0.55, 0.9), DARK),
            make_quads(_rear(w * 0.92, -half - 0.02, 1.0, 1.55), paint),
            make_quads(_front(w * 0.85, half - 0.1, 1.6, 2.4), GLASS),
        ]
        return join(parts)
    belt = 0.86 if kind == "sedan" else 0.98
    back, front = (1.05, 1.75) if kind == "sedan" else (0.12, 1.35)
    cabin = (-half + 0.1 + back * 0.45, half - front * 0.75)
    parts += [
        box((-w, w), (-half, half), (0.28, belt), paint, inset=(0.05, 0.06, 0.10)),
        _cabin(w - 0.06, cabin, belt, paint, kind),
        make_quads(_rear(w * 0.96, -half - 0.02, 0.30, 0.46), DARK),
        make_quads(_rear(w * 0.26, -half - 0.03, 0.50, 0.64), (0.95, 0.95, 0.80)),
        make_quads(_front(w * 0.96, half + 0.02, 0.30, 0.46), DARK),
    ]
    return join(parts)


@cache
def lamps(kind: str) -> Lamps:
    """Return the positions of tail and head lamps of one kind of vehicle."""
    width, length, _ = SIZES[kind]
    x, half = 0.36 * width, length / 2
    z = 1.15 if kind == "truck" else 0.70
    return Lamps(
        tail=np.array([(-x, -half - 0.05, z), (x, -half - 0.05, z)]),
        head=np.array([(-x, half + 0.05, 0.66), (x, half + 0.05, 0.66)]),
    )


@cache
def lamp_quads(kind: str, night: bool, braking: bool) -> Quads:
    """Return the lamps' faces: emissive at night, and tail lamps when braking."""
    at = lamps(kind)
    tail_color = (1.0, 0.10, 0.06) if braking or night else (0.62, 0.04, 0.04)
    head_color = (1.0, 0.97, 0.85) if night else (0.92, 0.92, 0.88)
    wide, high = 0.24, 0.11
    faces, colors, emissive = [], [], []
    for x, y, z in at.tail:
        faces.append(_patch(x, y, z, wide, high))
        colors.append(tail_color)
        emissive.append(night or braking)
    for x, y, z in at.head:
        faces.append(_patch(x, y, z, -wide, high))
        colors.append(head_color)
        emissive.append(night)
    return make_quads(faces, np.array(colors), emissive=np.array(emissive))


def _cabin(w, span, belt, paint, kind):
    lean_rear, lean_front = (0.75, 0.95) if kind == "sedan" else (0.22, 0.75)
    height = SIZES[kind][2]
    inset = (0.16, lean_rear, lean_front)
    shell = box((-w, w), span, (belt, height), paint, inset=inset)
    # Windows are the shell's four sides drawn in, so that pillars and roof edge stay painted.
    panes = []
    for face in shell.corners[:4]:
        centre = face.mean(axis=0)
        normal = np.cross(face[2] - face[0], face[3] - face[1])
        normal /= np.linalg.norm(normal)
        panes.append(centre + (face - centre) * 0.84 + 0.02 * normal)
    return join([shell, make_quads(panes, GLASS)])


def _wheels(w, half, radius):
    parts = []
    for y in (-half * 0.62, half * 0.62):
        for x, turn in ((-w - 0.01, -1), (w + 0.01, 1)):
            angle = np.arange(8) * np.pi / 4 + np.pi / 8
            rim = np.stack(
                [np.full(8, x), y + radius * np.cos(angle), radius + radius * np.sin(angle)], -1
            )[::turn]
            parts.append(
                make_quads([rim[[0, 1, 2, 3]], rim[[0, 3, 4, 7]], rim[[7, 4, 5, 6]]], RUBBER)
            )
        tyre = radius * 1.9
        parts.append(
            make_quads(
                [_patch(x, y - radius, tyre / 2, 0.13, tyre / 2) for x in (-w + 0.15, w - 0.15)]
                + [_patch(x, y + radius, tyre / 2, -0.13, tyre / 2) for x in (-w + 0.15, w - 0.15)],
                RUBBER,
            )
        )
    return parts


def _patch(x, y, z, half_width, half_height):
    """A face towards -y (towards +y for a negative half-width)."""
    a, b = half_width, half_height
    return [(x - a, y, z - b), (x + a, y, z - b), (x + a, y, z + b), (x - a, y, z + b)]


def _rear(w, y, z0, z1):
    return [[(-w, y, z0), (w, y, z0), (w, y, z1), (-w, y, z1)]]


def _front(w, y, z0, z1):
    return [[(w, y, z0), (-w, y, z0), (-w, y, z1), (w, y, z1)]]


def _flat(x0, x1, y0, y1, z):
    return [[(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)]]
