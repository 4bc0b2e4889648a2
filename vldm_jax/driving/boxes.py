"""Exact 2D boxes of cars: the projection of their known 3D boxes, and which of them are visible.

A car's 2D box is the smallest rectangle around the projection of its 3D box (the part in front
of the near plane), clipped to the picture, in normalised coordinates x0 y0 x1 y1 with the origin at
the top left. A car is *visible* in a frame if all of these hold:

1. its 2D box, clipped, is at least `MIN_HEIGHT` of the picture high and `MIN_WIDTH` of it wide;
2. at least `MIN_SHARE` of the `GRID` x `GRID` sample points in the inner 80 % of that box show
   nothing that is nearer than the car's nearest corner (less a tolerance of 3 m + 5 %, the depth
   buffer's precision): it is not hidden behind another car, a building, a rail or a crest.

Boxes are not shrunk to the part that can be seen (amodal boxes).
"""

import numpy as np

from vldm_jax.driving.world import EYE_HEIGHT
from vldm_jax.typing import Float

MIN_HEIGHT, MIN_WIDTH = 0.035, 0.012
GRID, MIN_SHARE = 8, 0.12
NEAR_PLANE = 0.4
EDGES = tuple((i, i | bit) for bit in (1, 2, 4) for i in range(8) if not i & bit)
"""Pairs of corners of a 3D box that differ in one of right, front, top."""


def camera_axes(heading: float, pitch: float) -> Float[np.ndarray, "3 3"]:
    """Return the rows right, up, forward of a camera in world coordinates.

    Args:
        heading: radians clockwise from north.
        pitch: radians, positive looks up.
    """
    sin_h, cos_h, sin_p, cos_p = np.sin(heading), np.cos(heading), np.sin(pitch), np.cos(pitch)
    right = (cos_h, -sin_h, 0.0)
    up = (-sin_h * sin_p, -cos_h * sin_p, cos_p)
    forward = (sin_h * cos_p, cos_h * cos_p, sin_p)
    return np.array([right, up, forward])


def project_box(
    corners: Float[np.ndarray, "8 3"], focal: float, aspect: float
) -> tuple[Float[np.ndarray, " 4"], float] | None:
    """Return the clipped 2D box and the depth of the nearest corner, or None if out of the picture.

    Args:
        corners: camera coordinates (right, up, forward) in metres; corner i has bit 0 = right,
            bit 1 = front, bit 2 = top.
        focal: focal length over the picture's width.
        aspect: width over height.
    """
    depth = corners[:, 2]
    if depth.max() <= NEAR_PLANE:
        return None
    points = [corner for corner in corners if corner[2] > NEAR_PLANE]
    for i, j in EDGES:
        a, b = corners[i], corners[j]
        if (a[2] > NEAR_PLANE) != (b[2] > NEAR_PLANE):
            points.append(a + (b - a) * (NEAR_PLANE - a[2]) / (b[2] - a[2]))
    cut = np.array(points)
    x = 0.5 + focal * cut[:, 0] / cut[:, 2]
    y = 0.5 - focal * aspect * cut[:, 1] / cut[:, 2]
    box = np.clip(np.array([x.min(), y.min(), x.max(), y.max()]), 0.0, 1.0)
    if box[2] <= box[0] or box[3] <= box[1]:
        return None
    return box, float(max(depth.min(), NEAR_PLANE))


def is_visible(
    box: Float[np.ndarray, " 4"], nearest: float, depth: Float[np.ndarray, "h w"]
) -> bool:
    """Return whether a car with this box is visible, by the rules of the module's docstring.

    Args:
        box: clipped, normalised x0 y0 x1 y1.
        nearest: depth of the car's nearest corner, metres.
        depth: of what the picture shows, metres.
    """
    wide, high = box[2] - box[0], box[3] - box[1]
    if wide < MIN_WIDTH or high < MIN_HEIGHT:
        return False
    inner = 0.1 + 0.8 * (np.arange(GRID) + 0.5) / GRID
    h, w = depth.shape
    columns = np.minimum(((box[0] + wide * inner) * w).astype(int), w - 1)
    rows = np.minimum(((box[1] + high * inner) * h).astype(int), h - 1)
    seen = depth[np.ix_(rows, columns)] >= 0.95 * nearest - 3.0
    return bool(seen.mean() >= MIN_SHARE)


def box_corners(width: float, length: float, height: float) -> Float[np.ndarray, "8 3"]:
    """Return the corners of a vehicle's 3D box in its own frame, in the order of `project_box`."""
    x, y, z = width / 2, length / 2, height
    return np.array([(a, b, c) for c in (0.0, z) for b in (-y, y) for a in (-x, x)])


def eye_of(point: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 3"]:
    """Return the camera's position above a point of the road."""
    return point + np.array([0.0, 0.0, EYE_HEIGHT])
