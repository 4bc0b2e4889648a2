"""The static world along the road: surface, terrain, rails, lamps, signs, trees, buildings.

Everything is laid out in road coordinates (s, d, h), turned into world coordinates through
`Road.point`, and cut into chunks of `CHUNK` metres so that the renderer can leave out what is out
of sight. Street lamps light their surroundings at night by what is baked into the colours here
(`street_light`); the ego car's own head lights depend on the camera and are left to `render`.
"""

from dataclasses import dataclass

import numpy as np

from vldm_jax.driving.mesh import Quads, join, lambert, make_quads, normals
from vldm_jax.driving.objects import PLOT, building, gantry, house, lamp_post, tree
from vldm_jax.driving.sky import Look
from vldm_jax.driving.world import Road, Spec, make_rng
from vldm_jax.typing import Float

CHUNK, STATION = PLOT, 4.0
LAMP_SPACING, LAMP_HEIGHT = 40.0, 8.0
LAMP_SIDES = (7.0, -18.6)
"""d of the lamp heads over the right and the left edge of the road."""
NIGHT_FLOOR = 0.42
"""Share of a colour that is stored where no street lamp shines; head lights fill in the rest."""

ASPHALT, WHITE, YELLOW = (0.36, 0.36, 0.38), (0.95, 0.95, 0.93), (0.98, 0.80, 0.20)
SIDEWALK, RAIL = (0.66, 0.64, 0.60), (0.74, 0.76, 0.80)
GREENS = {"forest": (0.34, 0.52, 0.20), "city": (0.46, 0.54, 0.34), "fields": (0.56, 0.66, 0.24)}
# (from d, to d, what); "dash" is white for one station of three.
STRIPS = (
    (-20.4, -18.45, "asphalt"),
    (-18.45, -18.2, "white"),
    (-18.2, -14.53, "asphalt"),
    (-14.53, -14.27, "dash"),
    (-14.27, -10.75, "asphalt"),
    (-10.75, -10.5, "yellow"),
    (-10.5, -9.6, "asphalt"),
    (-9.6, -6.4, "verge"),
    (-6.4, -5.55, "asphalt"),
    (-5.55, -5.28, "yellow"),
    (-5.28, -1.93, "asphalt"),
    (-1.93, -1.67, "dash"),
    (-1.67, 1.67, "asphalt"),
    (1.67, 1.93, "dash"),
    (1.93, 5.28, "asphalt"),
    (5.28, 5.55, "white"),
    (5.55, 8.2, "asphalt"),
)
TERRAIN = (7.0, 17.0, 32.0, 60.0, 110.0, 170.0)
"""Distances from the road's edge (d = 8.2, -20.4) at which terrain has corners."""


@dataclass(frozen=True)
class Chunk:
    """Static quads whose road position is in [start, start + CHUNK), by texture name."""

    start: float
    quads: dict[str, Quads]


def build_scenery(spec: Spec, road: Road, look: Look) -> list[Chunk]:
    """Return the static world along the whole road, in order of s.

    Args:
        spec: seed, night, scenery and sun.
        road: the centre line it is laid along.
        look: colours of the hour.
    """
    sun = sun_vector(spec)
    chunks = []
    land = _Land(spec)
    for start in np.arange(np.ceil(road.s[0] / CHUNK) * CHUNK, road.s[-1] - CHUNK, CHUNK):
        parts = {"plain": [], "asphalt": [], "ground": [], "facade": []}
        _surface(parts, start, land)
        _terrain(parts, start, land)
        _roadside(parts, start, spec)
        _plants_and_houses(parts, start, spec, land)
        chunk = {
            name: _place(join(bags), road, sun, look.tint, spec.night)
            for name, bags in parts.items()
            if bags
        }
        chunks.append(Chunk(float(start), chunk))
    return chunks


def sun_vector(spec: Spec) -> Float[np.ndarray, " 3"]:
    """Return the unit vector towards the sun (moon at night) in world coordinates."""
    flat = np.array([np.sin(spec.sun), np.cos(spec.sun)])
    return np.array([*(flat * -0.64), 0.768])


def street_light(s: Float[np.ndarray, "*n"], d: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Return how much street-lamp light falls on (s, d), in [0, 1].

    Args:
        s: metres along the road.
        d: metres right of its centre.
    """
    along = (s + LAMP_SPACING / 2) % LAMP_SPACING - LAMP_SPACING / 2
    light = np.zeros(np.broadcast(s, d).shape)
    for side in LAMP_SIDES:
        light = light + np.exp(-((along / 13.0) ** 2) - ((d - side) / 8.0) ** 2)
    return np.minimum(1.0, light)


def night_factor(s: Float[np.ndarray, "*n"], d: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Return the factor on a colour at (s, d) at night, in [NIGHT_FLOOR, 1]."""
    return NIGHT_FLOOR + (1 - NIGHT_FLOOR) * street_light(s, d)


class _Land:
    """Height and colour of the ground beside the road."""

    def __init__(self, spec):
        rng = make_rng(spec.seed, "land")
        self.city = spec.scenery == "city"
        self.relief = 0.0 if self.city else rng.uniform(2.0, 9.0)
        self.waves = [
            (rng.uniform(90, 260), rng.uniform(60, 200), rng.uniform(0, 2 * np.pi))
            for _ in range(3)
        ]
        base = np.array(GREENS[spec.scenery])
        straw = np.array((0.80, 0.68, 0.32))
        self.grass = base + (straw - base) * rng.uniform(0, 0.45)

    def height(self, s, edge):
        """Metres above the road at `edge` metres beyond its side (signed: left is negative)."""
        away = np.abs(edge)
        rise = np.clip((away - 4.0) / 60.0, 0.0, 1.0) ** 1.3
        total = sum(np.sin(2 * np.pi * (s / a + edge / b) + p) for a, b, p in self.waves)
        return rise * self.relief * (1.0 + 0.6 * total) - 0.04


def _surface(parts, start, land):
    stations = start + np.arange(0.0, CHUNK, STATION)
    for d0, d1, what in STRIPS:
        faces = np.stack([_ground_face(s, s + STATION, d0, d1) for s in stations])
        uv = faces[..., :2] / 12.0
        if what == "asphalt":
            parts["asphalt"].append(make_quads(faces, ASPHALT, uv))
        elif what == "verge":
            parts["ground"].append(make_quads(faces, land.grass * 0.95, uv))
        elif what == "dash":
            painted = np.round(stations / STATION).astype(int) % 3 == 0
            parts["plain"].append(make_quads(faces[painted], WHITE))
            parts["asphalt"].append(make_quads(faces[~painted], ASPHALT, uv[~painted]))
        else:
            parts["plain"].append(make_quads(faces, WHITE if what == "white" else YELLOW))


def _ground_face(s0, s1, d0, d1):
    return np.array([(s0, d0, 0.0), (s0, d1, 0.0), (s1, d1, 0.0), (s1, d0, 0.0)])


def _terrain(parts, start, land):
    """Wide strips beside the road; the inner one follows the road's stations, so no gap shows."""
    for side, edge in ((1, 8.2), (-1, -20.4)):
        inner = [
            _ground_face(s, s + STATION, *sorted((edge, edge + side * TERRAIN[0])))
            for s in start + np.arange(0.0, CHUNK, STATION)
        ]
        faces = np.array(inner)
        color = SIDEWALK if land.city else land.grass
        name = "plain" if land.city else "ground"
        if land.city:
            faces[..., 2] += 0.12
        parts[name].append(make_quads(faces, color, faces[..., :2] / 16.0))
        for near, far in zip(TERRAIN[:-1], TERRAIN[1:], strict=True):
            near = near - 0.6 if near == TERRAIN[0] else near
            face = _ground_face(
                start - 0.2, start + CHUNK + 0.2, *sorted((side * near, side * far))
            )
            height = land.height(face[:, 0], face[:, 1])
            face = np.stack([face[:, 0], face[:, 1] + edge, height], -1)
            parts["ground"].append(make_quads(face[None], land.grass, face[None, :, :2] / 16.0))


def _roadside(parts, start, spec):
    stations = start + np.arange(0.0, CHUNK, STATION)
    if spec.scenery != "city":
        for d in (8.7, -20.9):
            rail = [
                [(s, d, 0.42), (s + STATION, d, 0.42), (s + STATION, d, 0.80), (s, d, 0.80)]
                for s in stations
            ]
            parts["plain"].append(make_quads(rail, RAIL))
    if round(start / CHUNK) % round(LAMP_SPACING / CHUNK) == 0:
        for head in LAMP_SIDES:
            parts["plain"].append(lamp_post(start, head, LAMP_HEIGHT, spec.night))
    rng = make_rng(spec.seed, f"signs{round(start / CHUNK) // 12}")
    if rng.random() < 0.6 and round(start / CHUNK) % 12 == rng.integers(12):
        parts["plain"].append(gantry(start + 10.0, rng))


def _plants_and_houses(parts, start, spec, land):
    rng = make_rng(spec.seed, f"side{round(start / CHUNK)}")
    for side, edge in ((1, 8.2), (-1, -20.4)):
        if spec.scenery == "city":
            facade, plain = building(rng, start, edge, side, spec.night)
            parts["facade"].append(facade)
            parts["plain"] += plain
            if rng.random() < 0.7:
                at = (start + 10.0, edge + side * 4.0, 0.1)
                parts["plain"].append(tree(rng, at, "round", 0.6))
            continue
        trees = {"forest": 7, "fields": 1}[spec.scenery]
        for i in range(trees):
            near = i < trees // 2
            away = rng.uniform(5.5, 12.0) if near else rng.uniform(13.0, 42.0)
            s = start + rng.uniform(0, CHUNK)
            kind = "pine" if rng.random() < (0.65 if spec.scenery == "forest" else 0.1) else "round"
            ground = float(land.height(np.array(s), np.array(side * away)))
            parts["plain"].append(tree(rng, (s, edge + side * away, ground), kind))
        if spec.scenery == "fields" and rng.random() < 0.16:
            away = rng.uniform(16.0, 45.0)
            ground = float(land.height(np.array(start), np.array(side * away)))
            parts["plain"].append(house(rng, start, edge + side * away, ground))


def _place(quads, road, sun, tint, night):
    s, d, h = np.moveaxis(quads.corners, -1, 0)
    world = Quads(road.point(s, d, h), quads.colors, quads.uv, quads.emissive)
    factor = lambert(normals(world), world.emissive, sun)[:, None]
    if night:
        factor = factor * night_factor(s, d)
    factor = np.where(quads.emissive[:, None, None], 1.0, factor[..., None] * np.asarray(tint))
    return Quads(world.corners, quads.colors * factor, quads.uv, quads.emissive)
