"""Things that stand beside the road, in road coordinates (s, d, h): corners are (s, d, height).

Seen from above, (s, d) is left-handed against the world's (x, y); faces are oriented here so that
they come out counter-clockwise in the world.
"""

import numpy as np

from vldm_jax.driving.mesh import RGB, Quads, Span, join, make_quads

TRUNK = (0.36, 0.25, 0.17)
PINES = ((0.08, 0.34, 0.18), (0.11, 0.40, 0.20), (0.06, 0.28, 0.20))
ROUNDS = ((0.26, 0.52, 0.12), (0.36, 0.58, 0.14), (0.20, 0.44, 0.14), (0.70, 0.50, 0.12))
WALLS = (
    (0.78, 0.46, 0.36),
    (0.86, 0.76, 0.58),
    (0.62, 0.68, 0.76),
    (0.80, 0.80, 0.80),
    (0.70, 0.56, 0.46),
    (0.50, 0.62, 0.66),
)
LIT = ((1.0, 0.85, 0.48), (1.0, 0.93, 0.72), (0.75, 0.88, 1.0))
BAY = 4.0
"""Width and height of one window bay in metres (the period of the facade texture)."""
PLOT = 20.0
"""Metres of road that one building has."""
WARM_LAMP = (1.0, 0.88, 0.62)


def lamp_post(s: float, head: float, height: float, night: bool) -> Quads:
    """Return a post outside the road's edge with an arm that reaches to d = `head`."""
    foot = head + (2.4 if head > 0 else -2.4)
    grey = (0.45, 0.46, 0.50)
    lamp = WARM_LAMP if night else (0.85, 0.86, 0.88)
    return join(
        [
            block(_about(s, 0.11), _about(foot, 0.11), (0.0, height), grey),
            block(_about(s, 0.09), sorted((foot, head)), (height, height + 0.16), grey),
            block(
                _about(s, 0.3),
                _about(head, 0.6),
                (height - 0.14, height + 0.1),
                lamp,
                emissive=night,
            ),
        ]
    )


def gantry(s: float, rng: np.random.Generator) -> Quads:
    """Return a sign bridge over our carriageway with one or two green panels."""
    grey = (0.58, 0.60, 0.63)
    parts = [block(_about(s, 0.2), _about(d, 0.2), (0.0, 7.0), grey) for d in (-7.8, 9.6)]
    parts.append(block(_about(s, 0.15), (-7.8, 9.6), (6.6, 7.0), grey))
    for centre in (-3.6, 3.2)[rng.integers(2) :]:
        for grow, color, lift in ((0.18, (0.95, 0.96, 0.95), 0.0), (0.0, (0.05, 0.46, 0.24), 0.06)):
            a, b = centre - 2.9 - grow, centre + 2.9 + grow
            z0, z1 = 5.3 - grow, 8.0 + grow
            parts.append(make_quads([_towards_us(s - 0.3 - lift, a, b, z0, z1)], color))
        for row in (0.7, 1.6):
            a, b = centre - 2.2, centre + rng.uniform(0.4, 2.2)
            face = _towards_us(s - 0.42, a, b, 5.3 + row, 5.3 + row + 0.45)
            parts.append(make_quads([face], (0.95, 0.96, 0.95)))
    return join(parts)


def tree(
    rng: np.random.Generator, at: tuple[float, float, float], kind: str, scale: float = 1.0
) -> Quads:
    """Return a pine (two cones) or a round tree (a faceted ball) with its trunk.

    Args:
        rng: draws size and shade.
        at: s, d and height of the ground.
        kind: "pine" or "round".
        scale: factor on the size.
    """
    s, d, ground = at
    ground = ground - 0.3
    if kind == "pine":
        height = scale * rng.uniform(8.0, 13.0)
        radius = height * rng.uniform(0.22, 0.28)
        green = np.array(PINES[rng.integers(len(PINES))]) * rng.uniform(0.85, 1.2)
        parts = [
            _cone(s, d, ground + 0.14 * height, ground + 0.68 * height, radius, green),
            _cone(s, d, ground + 0.46 * height, ground + height, radius * 0.72, green * 1.12),
        ]
        trunk = 0.16 * height
    else:
        height = scale * rng.uniform(6.5, 10.0)
        radius = height * rng.uniform(0.30, 0.38)
        green = np.array(ROUNDS[rng.integers(len(ROUNDS))]) * rng.uniform(0.85, 1.15)
        parts = [_ball(s, d, ground + height - radius, radius, green)]
        trunk = height - 1.5 * radius
    wide = 0.03 * height
    stem = block(_about(s, wide), _about(d, wide), (ground, ground + trunk), TRUNK)
    return join([stem, *parts])


def building(
    rng: np.random.Generator, start: float, edge: float, side: int, night: bool
) -> tuple[Quads, list[Quads]]:
    """Return the textured walls, and the roof and lit windows, of one block beside the road.

    Args:
        rng: draws size, colour and windows.
        start: s where its plot of `PLOT` metres begins.
        edge: d of the road's edge.
        side: 1 right of the road, -1 left.
        night: whether windows are lit.
    """
    wide = BAY * rng.integers(3, 6)
    deep = BAY * rng.integers(3, 5)
    floors = int(rng.integers(2, 9))
    high = BAY * floors
    s0 = start + (PLOT - wide) / 2
    near = edge + side * (8.0 + rng.uniform(0, 4.0))
    d0, d1 = sorted((near, near + side * deep))
    wall = np.array(WALLS[rng.integers(len(WALLS))]) * rng.uniform(0.85, 1.1)
    front = [_towards_us(s0, d0, d1, 0.0, high)]
    street = [_along(s0, s0 + wide, near, 0.0, high, side)]
    uv_front = _bays(deep / BAY, floors)
    uv_street = _bays(wide / BAY, floors)
    walls = make_quads(front + street, np.minimum(wall, 1.0), np.stack([uv_front, uv_street]))
    roof = block((s0 - 0.3, s0 + wide + 0.3), (d0 - 0.3, d1 + 0.3), (high, high + 0.7), wall * 0.62)
    plain = [roof]
    if night:
        plain += _lit_windows(rng, (s0, d0, near), (wide, deep, floors), side)
    return walls, plain


def house(rng: np.random.Generator, s: float, d: float, ground: float) -> Quads:
    """Return a small house with a pitched red roof."""
    w, deep, high = rng.uniform(4, 6), rng.uniform(3.5, 5), rng.uniform(3.2, 4.5)
    wall = np.array(WALLS[rng.integers(1, 4)]) * 1.05
    z0, z1, z2 = ground - 1.0, ground + high, ground + high + 3.0
    walls = block(_about(s, w), _about(d, deep), (z0, z1), np.minimum(wall, 1.0))
    a, b, eaves = s - w - 0.5, s + w + 0.5, z1 - 0.2
    slopes = [
        [(a, d - deep - 0.5, eaves), (b, d - deep - 0.5, eaves), (b, d, z2), (a, d, z2)],
        [(b, d + deep + 0.5, eaves), (a, d + deep + 0.5, eaves), (a, d, z2), (b, d, z2)],
    ]
    gable = [[(s - w, d + deep, z1), (s - w, d - deep, z1), (s - w, d, z2), (s - w, d, z2)]]
    return join(
        [walls, make_quads(slopes, (0.72, 0.26, 0.18)), make_quads(gable, np.minimum(wall, 1.0))]
    )


def block(s: Span, d: Span, z: Span, color: RGB, *, emissive: bool = False) -> Quads:
    """Return the four sides and the top of an upright block, given its extent on each axis."""
    (s0, s1), (d0, d1), (z0, z1) = s, d, z
    faces = [
        _towards_us(s0, d0, d1, z0, z1),
        [(s1, d1, z0), (s1, d0, z0), (s1, d0, z1), (s1, d1, z1)],
        _along(s0, s1, d0, z0, z1, 1),
        _along(s0, s1, d1, z0, z1, -1),
        [(s0, d0, z1), (s0, d1, z1), (s1, d1, z1), (s1, d0, z1)],
    ]
    return make_quads(faces, color, emissive=emissive)


def _about(centre, reach):
    return centre - reach, centre + reach


def _towards_us(s, d0, d1, z0, z1):
    return [(s, d0, z0), (s, d1, z0), (s, d1, z1), (s, d0, z1)]


def _along(s0, s1, d, z0, z1, side):
    """A wall along the road; side = 1 faces left (a wall to our right)."""
    if side > 0:
        return [(s1, d, z0), (s0, d, z0), (s0, d, z1), (s1, d, z1)]
    return [(s0, d, z0), (s1, d, z0), (s1, d, z1), (s0, d, z1)]


def _bays(wide, high):
    return np.array([(0, 0), (wide, 0), (wide, high), (0, high)], float)


def _cone(s, d, z0, z1, radius, color):
    faces, colors = [], []
    for i in range(6):
        a, b = np.pi / 3 * i, np.pi / 3 * (i + 1)
        low = [(s + radius * np.cos(x), d + radius * np.sin(x), z0) for x in (a, b)]
        faces.append([*low, (s, d, z1), (s, d, z1)])
        colors.append(color * (1.0 - 0.12 * (i % 2)))
    return make_quads(faces, np.minimum(colors, 1.0))


def _ball(s, d, z, radius, color):
    faces, colors = [], []
    rings = [(-0.75, 0.55), (0.0, 1.0), (0.62, 0.76), (1.0, 0.0)]
    for (h0, r0), (h1, r1) in zip(rings[:-1], rings[1:], strict=True):
        for i in range(6):
            a, b = np.pi / 3 * i, np.pi / 3 * (i + 1)
            low = [(s + r0 * radius * np.cos(x), d + r0 * radius * np.sin(x)) for x in (a, b)]
            high = [(s + r1 * radius * np.cos(x), d + r1 * radius * np.sin(x)) for x in (b, a)]
            faces.append(
                [(*p, z + h0 * radius) for p in low] + [(*p, z + h1 * radius) for p in high]
            )
            colors.append(color * (0.86 + 0.2 * (h0 + h1) / 2))
    return make_quads(faces, np.minimum(colors, 1.0))


def _lit_windows(rng, place, size, side):
    (s0, d0, near), (wide, deep, floors) = place, size
    faces, colors = [], []
    a, b = 0.24 * BAY, 0.76 * BAY
    z0, z1 = 0.28 * BAY, 0.78 * BAY
    for across, along in ((deep, False), (wide, True)):
        for column in range(round(across / BAY)):
            for floor in range(floors):
                if rng.random() > 0.38:
                    continue
                low, high = floor * BAY + z0, floor * BAY + z1
                x0, x1 = column * BAY + a, column * BAY + b
                if along:
                    face = _along(s0 + x0, s0 + x1, near - side * 0.06, low, high, side)
                else:
                    face = _towards_us(s0 - 0.06, d0 + x0, d0 + x1, low, high)
                faces.append(face)
                colors.append(np.array(LIT[rng.integers(len(LIT))]) * rng.uniform(0.75, 1.0))
    return [make_quads(faces, np.array(colors), emissive=True)] if faces else []
