"""Quads: the one kind of geometry here, as NumPy arrays with flat colours.

A corner has a position (metres), an albedo in [0, 1] and a texture coordinate; a quad may be
emissive (drawn as it is, day or night). Light on a face is baked when the quad is made, since sun
and cars turn little within a clip; what depends on the camera is left to `render`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vldm_jax.typing import Bool, Float

RGB = Sequence[float] | np.ndarray
Span = Sequence[float]

AMBIENT = 0.62


@dataclass(frozen=True)
class Quads:
    """A bag of quads.

    Attributes:
        corners: (n, 4, 3) positions in metres, counter-clockwise seen from the front.
        colors: (n, 4, 3) albedo in [0, 1].
        uv: (n, 4, 2) texture coordinates.
        emissive: (n) whether the face shines by itself.
    """

    corners: Float[np.ndarray, "n 4 3"]
    colors: Float[np.ndarray, "n 4 3"]
    uv: Float[np.ndarray, "n 4 2"]
    emissive: Bool[np.ndarray, " n"]


def make_quads(corners: Any, colors: Any, uv: Any = None, emissive: Any = False) -> Quads:
    """Return quads from nested sequences or arrays that broadcast to the fields' shapes.

    Args:
        corners: (n 4 3), or anything that reshapes to it.
        colors: one colour, (n 3) one a face, or (n 4 3).
        uv: (n 4 2); zeros by default.
        emissive: one truth value, or (n).
    """
    corners = np.asarray(corners, np.float64).reshape(-1, 4, 3)
    count = len(corners)
    colors = np.asarray(colors, np.float64)
    if colors.ndim == 2 and len(colors) == count:
        colors = colors[:, None, :]
    uv = np.zeros((count, 4, 2)) if uv is None else np.asarray(uv, np.float64)
    return Quads(
        corners,
        np.broadcast_to(colors, (count, 4, 3)).astype(np.float64),
        uv.reshape(count, 4, 2),
        np.broadcast_to(np.asarray(emissive, bool), (count,)).copy(),
    )


def join(parts: list[Quads]) -> Quads:
    """Return all quads as one bag, in order."""
    return Quads(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("corners", "colors", "uv", "emissive")
        )
    )


def normals(quads: Quads) -> Float[np.ndarray, "n 3"]:
    """Return the faces' unit normals."""
    a = quads.corners[:, 2] - quads.corners[:, 0]
    b = quads.corners[:, 3] - quads.corners[:, 1]
    normal = np.cross(a, b)
    return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)


def lambert(
    normal: Float[np.ndarray, "n 3"],
    emissive: Bool[np.ndarray, " n"],
    sun: Float[np.ndarray, " 3"],
) -> Float[np.ndarray, " n"]:
    """Return the factor that the sun's light puts on each face's colour, in [AMBIENT, 1].

    Args:
        normal: unit normals.
        emissive: faces that take no light: factor 1.
        sun: unit vector towards the sun, in the normals' frame.
    """
    light = AMBIENT + (1 - AMBIENT) * np.maximum(0.0, normal @ sun)
    return np.where(emissive, 1.0, light)


def box(
    x: Span, y: Span, z: Span, color: RGB, *, inset: Sequence[float] = (0.0, 0.0, 0.0)
) -> Quads:
    """Return the five visible faces (no floor) of a box whose roof is drawn in by `inset`.

    Args:
        x: left and right, metres.
        y: rear and front.
        z: bottom and top.
        color: albedo.
        inset: metres by which the roof is narrower at each side, at the rear and at the front.
    """
    (x0, x1), (y0, y1), (z0, z1) = x, y, z
    side, rear, front = inset
    low = [(x0, y0, z0), (x1, y0, z0), (x1, y1, z0), (x0, y1, z0)]
    high = [
        (x0 + side, y0 + rear, z1),
        (x1 - side, y0 + rear, z1),
        (x1 - side, y1 - front, z1),
        (x0 + side, y1 - front, z1),
    ]
    faces = [[low[i], low[(i + 1) % 4], high[(i + 1) % 4], high[i]] for i in range(4)] + [high]
    return make_quads(faces, color)
