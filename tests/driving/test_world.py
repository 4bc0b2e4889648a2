import dataclasses

import numpy as np
import pytest

from vldm_jax.driving.world import AHEAD, BEHIND, SCENERIES, Road, make_rng, make_spec

ROAD = Road(make_spec(5), 120.0)


def test_spec_is_a_function_of_the_seed_and_seeds_differ():
    assert make_spec(3) == make_spec(3)
    assert len({make_spec(seed) for seed in range(50)}) == 50


def test_distribution_of_specs():
    specs = [make_spec(seed) for seed in range(2000)]
    # Binomial: 0.4 +- 4 standard deviations of sqrt(0.24 / 2000) = 0.011.
    assert abs(np.mean([spec.night for spec in specs]) - 0.4) < 0.044
    for scenery in SCENERIES:
        assert abs(np.mean([spec.scenery == scenery for spec in specs]) - 1 / 3) < 0.044


def test_streams_of_one_seed_are_independent_of_each_other():
    first, second = make_rng(1, "road").random(8), make_rng(1, "sky").random(8)
    assert not np.any(first == second)
    np.testing.assert_array_equal(first, make_rng(1, "road").random(8))


def test_road_covers_what_is_behind_and_ahead():
    assert ROAD.s[0] <= -BEHIND and ROAD.s[-1] >= 120.0 + AHEAD - 1.0


def test_heading_is_the_direction_of_the_centre_line():
    s = np.arange(0.0, 100.0, 10.0) + 0.5
    ahead, behind = (ROAD.point(s + e, np.zeros_like(s), np.zeros_like(s)) for e in (0.5, -0.5))
    x, y, _ = (ahead - behind).T
    np.testing.assert_allclose(np.hypot(x, y), 1.0, atol=1e-3)
    np.testing.assert_allclose(np.arctan2(x, y), ROAD.heading(s), atol=5e-3)


def test_d_is_metres_to_the_right():
    s = np.array([0.0, 40.0])
    centre = ROAD.point(s, np.zeros(2), np.zeros(2))
    right = ROAD.point(s, np.full(2, 3.0), np.zeros(2)) - centre
    along = np.stack([np.sin(ROAD.heading(s)), np.cos(ROAD.heading(s))], -1)
    np.testing.assert_allclose(np.sum(right[:, :2] * along, axis=1), 0.0, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(right, axis=1), 3.0)
    # Right of the direction of travel: the cross product points down.
    assert np.all(along[:, 0] * right[:, 1] - along[:, 1] * right[:, 0] < 0)


def test_slope_is_the_derivative_of_the_elevation():
    s = np.arange(0.0, 100.0, 7.0)
    zero = np.zeros_like(s)
    rise = ROAD.point(s + 0.5, zero, zero)[:, 2] - ROAD.point(s - 0.5, zero, zero)[:, 2]
    np.testing.assert_allclose(rise, ROAD.slope(s), atol=2e-3)


@pytest.mark.parametrize("seed", range(5))
def test_road_starts_northwards(seed):
    assert Road(make_spec(seed), 50.0).heading(np.zeros(1)) == pytest.approx(0.0, abs=1e-12)


def test_curvature_bends_the_road_and_bounds_the_bend():
    spec = dataclasses.replace(make_spec(2), curvature=0.003)
    s = np.arange(0.0, 300.0)
    heading = Road(spec, 50.0).heading(s)
    # Two waves of amplitude 1 and 1/2.
    assert np.abs(np.diff(heading)).max() <= 1.5 * spec.curvature + 1e-9
    assert np.ptp(heading) > 0.1
    straight = Road(dataclasses.replace(spec, curvature=0.0), 50.0)
    assert np.ptp(straight.heading(s)) == 0.0
