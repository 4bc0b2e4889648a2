import dataclasses

import numpy as np
import pytest

from vldm_jax.driving import traffic as rules
from vldm_jax.driving.traffic import ACCELERATION, HEADWAY, LENGTHS, MIN_GAP, idm, simulate
from vldm_jax.driving.world import LANES, make_spec

FPS = 30.0
CROWDED = [dataclasses.replace(make_spec(seed), density=0.035) for seed in (0, 3, 6)]


def arrays(*values):
    return [np.array([float(value)]) for value in values]


def test_free_road_acceleration():
    speed, desired, gap, lead = arrays(15, 30, np.inf, 15)
    # (1/2)^4 = 1/16 of the acceleration is lost.
    assert idm(speed, desired, gap, lead)[0] == pytest.approx(ACCELERATION * 15 / 16)
    assert idm(desired, desired, gap, lead)[0] == pytest.approx(0.0)


def test_equilibrium_gap():
    """At equal speeds a = 0 at (s0 + v T) / sqrt(1 - (v / v0)^4) (Treiber et al., eq. 7)."""
    gap = (MIN_GAP + 20 * HEADWAY) / np.sqrt(1 - (20 / 25) ** 4)
    speed, desired, at, lead = arrays(20, 25, gap, 20)
    assert idm(speed, desired, at, lead)[0] == pytest.approx(0.0, abs=1e-12)
    assert idm(speed, desired, at * 0.9, lead)[0] < 0 < idm(speed, desired, at * 1.1, lead)[0]


def test_a_platoon_settles_at_the_equilibrium_gap():
    speed, s = np.array([10.0, 20.0]), np.array([0.0, 60.0])
    for _ in range(2000):
        gap = np.array([s[1] - s[0], np.inf])
        acceleration = idm(speed, np.array([30.0, 20.0]), gap, speed[[1, 1]])
        speed = speed + 0.1 * acceleration
        s = s + 0.1 * speed
    assert s[1] - s[0] == pytest.approx((MIN_GAP + 20 * HEADWAY) / np.sqrt(1 - (2 / 3) ** 4), 1e-3)


@pytest.mark.parametrize("spec", CROWDED, ids=lambda spec: str(spec.seed))
def test_nobody_collides(spec):
    traffic = simulate(spec, 90, FPS)
    for i in range(0, 90, 8):
        for ours in (False, True):
            mine = np.flatnonzero(traffic.oncoming == ours)
            s, d, length = traffic.s[i, mine], traffic.d[i, mine], LENGTHS[traffic.kind[mine]]
            apart = np.abs(s[:, None] - s[None, :]) - (length[:, None] + length[None, :]) / 2
            beside = np.abs(d[:, None] - d[None, :]) < 1.7
            assert np.all((apart > 0) | ~beside | np.eye(len(s), dtype=bool))


def test_ego_starts_at_zero_and_stays_on_our_lanes():
    for spec in CROWDED:
        traffic = simulate(spec, 15, FPS)
        assert traffic.s[0, 0] == 0.0 and not traffic.oncoming[0]
        assert np.all(np.abs(traffic.d[:, 0]) <= max(LANES))


def test_speed_and_drift_are_the_derivatives_of_the_positions():
    traffic = simulate(CROWDED[0], 60, FPS)
    sign = np.where(traffic.oncoming, -1.0, 1.0)
    speed = np.diff(traffic.s, axis=0) * FPS * sign
    np.testing.assert_allclose(speed, (traffic.speed[1:] + traffic.speed[:-1]) / 2, atol=1e-6)
    drift = np.diff(traffic.d, axis=0) * FPS
    np.testing.assert_allclose(drift, (traffic.drift[1:] + traffic.drift[:-1]) / 2, atol=0.1)


def test_lanes_are_changed():
    moved = [np.ptp(simulate(spec, 150, FPS).d, axis=0).max() for spec in CROWDED]
    assert max(moved) > 3.59


@pytest.mark.parametrize(
    "away,speed,safe",
    [(5.0, 20.0, False), (40.0, 20.0, True), (-40.0, 20.0, True), (-14.0, 32.0, False)],
)
def test_nobody_moves_beside_or_in_front_of_a_faster_car(away, speed, safe):
    road = rules._Carriageway(np.random.default_rng(0), LANES, 0.035, -70.0, 330.0, ego=True)
    road.s[:] = 1e4 * np.arange(1, len(road.s) + 1)
    road.lane[:2], road.s[:2] = (0, 1), (0.0, away)
    road.source[:2] = np.array(LANES)[[0, 1]]
    road.speed[:2], road.desired[:2], road.length[:2] = (20.0, speed), 36.0, 4.5
    assert road._is_safe(0, 1) == safe


def test_no_lane_change_without_gain(monkeypatch):
    monkeypatch.setattr(rules, "CHANGE_GAIN", np.inf)
    assert max(np.ptp(simulate(spec, 60, FPS).d, axis=0).max() for spec in CROWDED[:1]) == 0.0


def test_frame_rate_does_not_change_what_happens():
    coarse, fine = simulate(CROWDED[1], 31, 15.0), simulate(CROWDED[1], 61, 30.0)
    np.testing.assert_allclose(coarse.s[-1, 0], fine.s[-1, 0], rtol=0.01)
    np.testing.assert_array_equal(coarse.kind, fine.kind)


def test_same_seed_same_traffic():
    first, second = simulate(CROWDED[2], 20, FPS), simulate(CROWDED[2], 20, FPS)
    for field in dataclasses.fields(first):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name))
