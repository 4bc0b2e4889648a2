"""Who drives where: car following, lane changes and the ego car, on road coordinates.

Each vehicle follows the Intelligent Driver Model (Treiber, Hennecke, Helbing 2000),

    a = a_max [1 - (v / v0)^4 - (g* / g)^2],   g* = g0 + v T + v (v - v_lead) / (2 sqrt(a_max b)),

and changes lane by a small form of MOBIL (Kesting, Treiber, Helbing 2007): when the gain in its own
acceleration exceeds a threshold and the new follower need not brake harder than `SAFE_BRAKING`.
A change takes `CHANGE_SECONDS` along a smoothstep. The two carriageways do not see each other.
The simulation warms up before the first frame, so that gaps and speeds have settled.

No geometry and no pixels: positions are (s, d) of `world.Road`; oncoming cars drive towards -s.
"""

from dataclasses import dataclass

import numpy as np

from vldm_jax.driving.world import LANES, ONCOMING_LANES, Spec, make_rng
from vldm_jax.typing import Bool, Float, Int

ACCELERATION, COMFORT_BRAKING = 1.4, 2.0
MIN_GAP, HEADWAY = 2.5, 0.8
SAFE_BRAKING, CHANGE_GAIN = 2.5, 0.25
CHANGE_SECONDS = 3.2
WARM_UP_SECONDS, WARM_UP_STEP = 12.0, 0.1
VIEW = 330.0
KINDS = ("sedan", "wagon", "truck")
LENGTHS = np.array([4.5, 4.7, 8.5])
EGO_SPEED = 24.0


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Every vehicle at every frame; the ego car is number 0.

    Attributes:
        s: (t, n) centre of the vehicle along the road, metres.
        d: (t, n) metres right of the centre line.
        speed: (t, n) m/s, along the direction of travel.
        drift: (t, n) m/s to the right of the centre line (lane changes).
        braking: (t, n) whether the brake lights are on.
        oncoming: (n) whether it drives towards -s.
        kind: (n) index into `KINDS`.
        color: (n) index into the palette of car colours.
    """

    s: Float[np.ndarray, "t n"]
    d: Float[np.ndarray, "t n"]
    speed: Float[np.ndarray, "t n"]
    drift: Float[np.ndarray, "t n"]
    braking: Bool[np.ndarray, "t n"]
    oncoming: Bool[np.ndarray, " n"]
    kind: Int[np.ndarray, " n"]
    color: Int[np.ndarray, " n"]


def idm(
    speed: Float[np.ndarray, "*n"],
    desired: Float[np.ndarray, "*n"],
    gap: Float[np.ndarray, "*n"],
    lead_speed: Float[np.ndarray, "*n"],
) -> Float[np.ndarray, "*n"]:
    """Return the acceleration in m/s^2 of a driver `gap` metres behind one at `lead_speed`.

    Args:
        speed: own speed, m/s.
        desired: speed on a free road, m/s.
        gap: bumper to bumper, metres; inf for a free road.
        lead_speed: speed of the vehicle ahead, m/s.

    Source: Treiber, Hennecke, Helbing, Phys. Rev. E 62 (2000), 1805.
    """
    closing = speed * (speed - lead_speed) / (2 * np.sqrt(ACCELERATION * COMFORT_BRAKING))
    wanted = MIN_GAP + np.maximum(0.0, HEADWAY * speed + closing)
    return ACCELERATION * (1 - (speed / desired) ** 4 - (wanted / np.maximum(gap, 0.1)) ** 2)


def simulate(spec: Spec, num_frames: int, fps: float) -> Traffic:
    """Drive all vehicles for `num_frames` frames; the ego car is at s = 0 in the first one.

    Args:
        spec: density and seed.
        num_frames: length of the clip, >= 1.
        fps: frames a second, > 0.
    """
    rng = make_rng(spec.seed, "traffic")
    travel = 34.0 * num_frames / fps
    ours = _Carriageway(rng, LANES, spec.density, -70.0, VIEW, ego=True)
    theirs = _Carriageway(rng, ONCOMING_LANES, spec.density, -VIEW - travel, travel, ego=False)
    for _ in range(int(WARM_UP_SECONDS / WARM_UP_STEP)):
        ours.step(WARM_UP_STEP)
        theirs.step(WARM_UP_STEP)
    frames = []
    for _ in range(num_frames):
        frames.append((ours.state(), theirs.state()))
        ours.step(1.0 / fps)
        theirs.step(1.0 / fps)
    stacked = [
        np.stack([np.concatenate([first[i], second[i]]) for first, second in frames])
        for i in range(5)
    ]
    s, d, speed, drift, acceleration = stacked
    # Ours starts where the ego car is; theirs was driven towards +s from an origin of its own and
    # is turned round so that whoever the ego car meets during the clip is on the road.
    count = len(ours.s)
    s[:, :count] -= s[0, 0]
    s[:, count:] = travel + WARM_UP_SECONDS * EGO_SPEED - s[:, count:]
    return Traffic(
        s=s,
        d=d,
        speed=speed,
        drift=drift,
        braking=acceleration < -0.8,
        oncoming=np.arange(s.shape[1]) >= count,
        kind=np.concatenate([ours.kind, theirs.kind]),
        color=np.concatenate([ours.color, theirs.color]),
    )


class _Carriageway:
    """The vehicles of one direction; `s` increases the way they drive."""

    def __init__(self, rng, lanes, density, start, stop, ego):
        self.lanes = np.asarray(lanes)
        rows = []
        for lane in range(len(lanes)):
            position = start + rng.uniform(0, 40)
            while position < stop:
                rows.append((position, lane))
                position += 12.0 + rng.exponential(1.0 / density)
        ego_lane = int(rng.integers(len(lanes)))
        if ego:
            rows = [r for r in rows if not (r[1] == ego_lane and abs(r[0]) < 24)]
            rows.insert(0, (0.0, ego_lane))
        count = len(rows)
        self.s = np.array([r[0] for r in rows], float)
        self.lane = np.array([r[1] for r in rows], int)
        self.kind = rng.choice(3, size=count, p=(0.60, 0.31, 0.09))
        self.color = rng.integers(0, 8, size=count)
        slow_right = np.where(np.arange(len(lanes)) == len(lanes) - 1, -2.5, 0.5)
        self.desired = EGO_SPEED + rng.normal(0, 3.0, size=count) + slow_right[self.lane]
        self.desired -= 4.0 * (self.kind == 2)
        if ego:
            self.kind[0], self.desired[0] = 0, EGO_SPEED + rng.uniform(-2, 3)
        self.desired = np.clip(self.desired, 16.0, 34.0)
        self.speed = self.desired * 0.92
        self.length = LENGTHS[self.kind]
        self.acceleration = np.zeros(count)
        self.source = self.lanes[self.lane].astype(float)
        self.progress = np.ones(count)
        self.patience = rng.uniform(0, 6, size=count)

    def state(self):
        target = self.lanes[self.lane] if len(self.lane) else self.source
        p = self.progress
        d = self.source + (target - self.source) * p * p * (3 - 2 * p)
        drift = (target - self.source) * 6 * p * (1 - p) / CHANGE_SECONDS
        return self.s.copy(), d, self.speed.copy(), drift, self.acceleration.copy()

    def step(self, seconds):
        if not len(self.s):
            return
        gap, lead = self._ahead(self.lane)
        self.acceleration = np.clip(idm(self.speed, self.desired, gap, lead), -7.0, ACCELERATION)
        self._change_lanes(seconds)
        before = self.speed
        self.speed = np.maximum(0.0, before + self.acceleration * seconds)
        self.s = self.s + 0.5 * (before + self.speed) * seconds
        self.progress = np.minimum(1.0, self.progress + seconds / CHANGE_SECONDS)

    def _ahead(self, lanes):
        """Gap and speed of the nearest vehicle ahead of each car, were it in `lanes`.

        A car that is changing lane occupies the old one as well until it is half-way.
        """
        away = self.s[None, :] - self.s[:, None]
        old = np.where(self.progress < 0.5, self._old_lane(), self.lane)
        same = (self.lane[None, :] == lanes[:, None]) | (old[None, :] == lanes[:, None])
        away = np.where(same & (away > 1e-6), away, np.inf)
        leader = np.argmin(away, axis=1)
        nearest = away[np.arange(len(self.s)), leader]
        gap = nearest - 0.5 * (self.length + self.length[leader])
        lead_speed = np.where(np.isfinite(gap), self.speed[leader], self.speed)
        return gap, lead_speed

    def _old_lane(self):
        return np.argmin(np.abs(self.source[:, None] - self.lanes[None, :]), axis=1)

    def _change_lanes(self, seconds):
        self.patience = self.patience - seconds
        ready = np.flatnonzero((self.patience <= 0) & (self.progress >= 1.0))
        for car in ready:
            best, gain = None, CHANGE_GAIN
            for lane in (self.lane[car] - 1, self.lane[car] + 1):
                if 0 <= lane < len(self.lanes) and self._is_safe(car, lane):
                    lanes = self.lane.copy()
                    lanes[car] = lane
                    gap, lead = self._ahead(lanes)
                    value = idm(self.speed, self.desired, gap, lead)[car]
                    if value - self.acceleration[car] > gain:
                        best, gain = lane, value - self.acceleration[car]
            self.patience[car] = 0.5
            if best is not None:
                self.source[car] = self.lanes[self.lane[car]]
                self.lane[car], self.progress[car], self.patience[car] = best, 0.0, 5.0

    def _is_safe(self, car, lane):
        near = (self.lane == lane) | ((self._old_lane() == lane) & (self.progress < 1.0))
        near[car] = False
        away = self.s - self.s[car]
        reach = 0.5 * (self.length + self.length[car])
        if np.any(near & (np.abs(away) < reach + 4.0)):
            return False
        behind = np.flatnonzero(near & (away < 0))
        if not len(behind):
            return True
        follower = behind[[np.argmax(away[behind])]]
        gap = -away[follower] - reach[follower]
        speed, desired = self.speed[follower], self.desired[follower]
        return bool(idm(speed, desired, gap, self.speed[[car]])[0] > -SAFE_BRAKING)
