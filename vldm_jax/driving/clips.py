"""A seed -> frames, labels and boxes: the loop that drives traffic, camera and renderer.

    spec, road, traffic  (pure NumPy)  ->  for each frame: camera, cars, raster, shading, boxes

The same seed gives the same bytes in every process. Labels of a clip (`LABELS`):

- `night`: 0 by day, 1 by night;
- `cars`: the mean number of visible cars a frame, rounded to the nearest integer (`boxes` defines
  visible). The mean and not the number of different cars, so that a window cut from the clip is
  described by the clip's label.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.driving import boxes as box_rules
from vldm_jax.driving.glow import car_lamps, project_lamps, street_lamps
from vldm_jax.driving.mesh import Quads, join, lambert, normals
from vldm_jax.driving.render import (
    SUPERSAMPLE,
    Canvas,
    Patch,
    StaticWorld,
    focal_length,
    to_bytes,
)
from vldm_jax.driving.scenery import build_scenery, night_factor, sun_vector
from vldm_jax.driving.shading import DEPTH_OF_CODE, Shader, encode_alpha
from vldm_jax.driving.sky import make_look, make_panorama
from vldm_jax.driving.traffic import KINDS, Traffic, simulate
from vldm_jax.driving.vehicles import SIZES, body, lamp_quads
from vldm_jax.driving.world import Road, Spec, make_rng, make_spec

LABELS = ("night", "cars")
PITCH = -0.030
CAR_SIGHT = 230.0


def render_clip(
    seed: int, num_frames: int = 120, fps: float = 30.0, size: tuple[int, int] = (128, 256)
) -> dict[str, object]:
    """Render one clip.

    Args:
        seed: non-negative; decides everything that is seen.
        num_frames: length, >= 1.
        fps: frames a second, > 0: the scene's speed does not depend on it.
        size: height and width in pixels, even and at least 16.

    Returns:
        `video` uint8 (t h w 3); `labels` float32 (2) in the order of `LABELS`; `boxes` a list with,
        for each frame, float32 (n 4) normalised x0 y0 x1 y1; `ids` a list with int32 (n), the car
        each box belongs to; `fps`; `seed`.

    Raises:
        InputError: if panda3d cannot render, or an argument is out of range.
    """
    check_clip(seed, num_frames, fps, size)
    spec = make_spec(seed)
    traffic = simulate(spec, num_frames, fps)
    road = Road(spec, float(traffic.s[-1, 0]) + 10.0)
    scene = _Scene(spec, road, traffic, fps, size)
    try:
        frames = [scene.frame(i) for i in range(num_frames)]
    finally:
        scene.close()
    counts = [len(found) for _, found, _ in frames]
    cars = np.floor(np.mean(counts) + 0.5)
    return {
        "video": np.stack([picture for picture, _, _ in frames]),
        "labels": np.array([spec.night, cars], np.float32),
        "boxes": [found for _, found, _ in frames],
        "ids": [ids for _, _, ids in frames],
        "fps": float(fps),
        "seed": seed,
    }


def check_clip(seed: int, num_frames: int, fps: float, size: tuple[int, int]) -> None:
    """Raise unless `render_clip` takes these.

    Raises:
        InputError: if an argument is out of range.
    """
    height, width = size
    if num_frames < 1 or not 0 < fps < np.inf or seed < 0:
        raise InputError(f"a clip needs {seed=} >= 0, {num_frames=} >= 1 and {fps=} > 0")
    if height % 2 or width % 2 or min(size) < 16:
        raise InputError(f"a clip's size must be even and at least 16 pixels, not {height}x{width}")


@cache
def open_canvas(height: int, width: int) -> Canvas:
    """Return this process's one canvas for pictures of a size.

    Raises:
        InputError: if panda3d or libX11 is missing, or no buffer of that size can be opened.
    """
    return Canvas(height, width)


@dataclass(frozen=True)
class _Pose:
    """Where a vehicle stands: rows of `axes` are right, forward, up in the world."""

    origin: np.ndarray
    axes: np.ndarray

    def world(self, points):
        return points @ self.axes + self.origin


@cache
def _model(kind, color, night, braking):
    """A vehicle's quads and their normals."""
    quads = join([body(kind, color), lamp_quads(kind, night, braking)])
    return quads, normals(quads)


class _Scene:
    """One clip on a canvas."""

    def __init__(self, spec: Spec, road: Road, traffic: Traffic, fps, size):
        canvas = self.canvas = open_canvas(*size)
        self.spec, self.road, self.traffic, self.fps = spec, road, traffic, fps
        self.focal = focal_length(canvas.width)
        look = make_look(spec)
        self.tint = np.asarray(look.tint)
        self.shader = Shader(look, spec.night, canvas.size, self.focal, SUPERSAMPLE)
        self.above = round(0.62 * canvas.height + 0.12 * self.focal)
        self.poses = self._all_poses()
        turn = self.poses[1][:, 0]
        self.first = round(float(turn.min()) * self.focal) - canvas.width // 2 - 2
        columns = round(float(np.ptp(turn)) * self.focal) + canvas.width + 5
        azimuth = (self.first + np.arange(columns)) / self.focal
        self.sky = make_panorama(spec, look, self.focal, azimuth, (self.above, canvas.height))
        self.static = StaticWorld(canvas, build_scenery(spec, road, look))
        self.sun = sun_vector(spec)
        self.shake = make_rng(spec.seed, "shake").uniform(0, 2 * np.pi, size=3)
        self.cars = self._cars_patch()

    def close(self):
        self.static.remove()
        self.cars.remove()

    def frame(self, i):
        """Return the picture, the boxes and the ids of frame i."""
        ego = self._pose(i, 0)
        heading, slope = float(self.poses[1][i, 0]), float(self.poses[2][i, 0])
        moment = i / self.fps
        shake = 0.0012 * np.sin(9.1 * moment + self.shake[0]) + 0.0008 * np.sin(
            14.7 * moment + self.shake[1]
        )
        pitch = slope + PITCH + float(shake)
        eye = box_rules.eye_of(ego.origin)
        axes = box_rules.camera_axes(heading, pitch)
        self.static.update(float(self.traffic.s[i, 0]), eye, axes[2])
        poses = {car: self._pose(i, car) for car in self._in_sight(i)}
        self._place_cars(i, poses, eye, axes[2])
        buffer = self.canvas.grab(eye, heading, pitch)
        glows = self._glows(i, poses, eye, axes) if self.spec.night else []
        picture = self.shader.shade(buffer, self._sky_window(heading, pitch), pitch, glows)
        found, ids = self._boxes(poses, eye, axes, DEPTH_OF_CODE[buffer[..., 3]])
        return picture, found, ids

    def _all_poses(self):
        """Origin (t n 3), heading (t n) and pitch (t n) of every vehicle."""
        traffic = self.traffic
        turn = np.where(traffic.oncoming, np.pi, 0.0)[None, :]
        drift = np.arctan2(traffic.drift, np.maximum(traffic.speed, 5.0))
        heading = self.road.heading(traffic.s) + turn + drift
        pitch = np.arctan(self.road.slope(traffic.s)) * np.where(traffic.oncoming, -1.0, 1.0)
        origin = self.road.point(traffic.s, traffic.d, np.zeros_like(traffic.s))
        return origin, heading, pitch

    def _pose(self, i, car):
        origin, heading, pitch = (values[i, car] for values in self.poses)
        return _Pose(origin, box_rules.camera_axes(float(heading), float(pitch))[[0, 2, 1]])

    def _in_sight(self, i):
        away = self.traffic.s[i] - self.traffic.s[i, 0]
        near = np.flatnonzero((away > -12.0) & (away < CAR_SIGHT))
        return [int(car) for car in near if car != 0]

    def _model(self, i, car):
        kind = KINDS[self.traffic.kind[car]]
        braking = bool(self.traffic.braking[i, car])
        return _model(kind, int(self.traffic.color[car]), self.spec.night, braking)

    def _cars_patch(self):
        """One patch with room for all cars that are ever in sight together."""
        frames = range(len(self.traffic.s))
        sizes = [
            sum(len(self._model(i, car)[0].corners) for car in self._in_sight(i)) for i in frames
        ]
        self.room = max([1, *sizes])
        empty = np.zeros((self.room, 4, 3))
        none = np.zeros(self.room, bool)
        return Patch(self.canvas, Quads(empty, empty, empty[..., :2], none), "plain")

    def _place_cars(self, i, poses, eye, forward):
        corners = np.zeros((self.room, 4, 3))
        colors = np.zeros((self.room, 4, 4), np.uint8)
        start = 0
        for car, pose in poses.items():
            model, normal = self._model(i, car)
            stop = start + len(model.corners)
            factor = lambert(normal, model.emissive, pose.axes @ self.sun)
            if self.spec.night:
                s, d = self.traffic.s[i, [car]], self.traffic.d[i, [car]]
                factor = factor * night_factor(s, d)
            factor = np.where(model.emissive[:, None], 1.0, factor[:, None] * self.tint)
            corners[start:stop] = pose.world(model.corners)
            lit = (model.colors * factor[:, None, :]).reshape(-1, 3)
            colors[start:stop, :, :3] = to_bytes(lit).reshape(-1, 4, 3)
            depth = (corners[start:stop].reshape(-1, 3) - eye) @ forward
            code = encode_alpha(depth, np.repeat(model.emissive, 4))
            colors[start:stop, :, 3] = code.reshape(-1, 4)
            start = stop
        flat = np.zeros((self.room, 4, 2))
        self.cars.place(Quads(corners, corners, flat, np.zeros(self.room, bool)))
        self.cars.paint(colors.reshape(-1, 4))

    def _sky_window(self, heading, pitch):
        h, w = self.canvas.height, self.canvas.width
        left = round(heading * self.focal) - w // 2 - self.first
        top = round(self.above - h / 2 - pitch * self.focal)
        top = min(max(top, 0), self.sky.shape[1] - h)
        return self.sky[:, top : top + h, left : left + w]

    def _boxes(self, poses, eye, axes, depth):
        focal = self.focal / self.canvas.width
        aspect = self.canvas.width / self.canvas.height
        # Farther away than this times its height, no car reaches the least height of a box.
        sight = 1.2 * focal * aspect / box_rules.MIN_HEIGHT + 10.0
        found, ids = [], []
        for car, pose in poses.items():
            size = SIZES[KINDS[self.traffic.kind[car]]]
            if np.linalg.norm(pose.origin - eye) > sight * size[2]:
                continue
            corners = box_rules.box_corners(*size)
            seen = (pose.world(corners) - eye) @ axes.T
            projected = box_rules.project_box(seen, focal, aspect)
            if projected is not None and box_rules.is_visible(*projected, depth):
                found.append(projected[0])
                ids.append(car)
        return np.array(found, np.float32).reshape(-1, 4), np.array(ids, np.int32)

    def _glows(self, i, poses, eye, axes):
        """Halos of tail lamps in our direction, head lamps in the other, and street lamps."""
        spots = [street_lamps(self.road, float(self.traffic.s[i, 0]))]
        for car, pose in poses.items():
            kind, braking = KINDS[self.traffic.kind[car]], bool(self.traffic.braking[i, car])
            spots.append(car_lamps(kind, bool(self.traffic.oncoming[car]), braking, pose.world))
        return project_lamps(spots, eye, axes, self.focal, self.canvas.size)
