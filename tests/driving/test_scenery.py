import dataclasses

import numpy as np
import pytest

from vldm_jax.driving.mesh import box, lambert, normals
from vldm_jax.driving.scenery import (
    CHUNK,
    LAMP_SIDES,
    LAMP_SPACING,
    NIGHT_FLOOR,
    STRIPS,
    build_scenery,
    night_factor,
    street_light,
    sun_vector,
)
from vldm_jax.driving.sky import make_look, make_panorama
from vldm_jax.driving.vehicles import PALETTE, SIZES, body, lamps
from vldm_jax.driving.world import LANES, SCENERIES, Road, make_spec


def scenery(seed=1, **changes):
    spec = dataclasses.replace(make_spec(seed), **changes)
    return spec, Road(spec, 20.0)


@pytest.mark.parametrize("name", SCENERIES)
def test_chunks_tile_the_road(name):
    spec, road = scenery(scenery=name)
    chunks = build_scenery(spec, road, make_look(spec))
    assert np.all(np.diff([chunk.start for chunk in chunks]) == CHUNK)
    assert chunks[0].start < 0 and chunks[-1].start > 300
    for chunk in chunks:
        for quads in chunk.quads.values():
            assert np.all(np.isfinite(quads.corners))
            assert quads.colors.min() >= 0


def test_strips_of_the_road_touch_and_lines_lie_between_lanes():
    for (_, right, _), (left, _, _) in zip(STRIPS[:-1], STRIPS[1:], strict=True):
        assert right == left
    painted = [(a, b) for a, b, what in STRIPS if what in ("white", "yellow", "dash")]
    for lane in LANES:
        assert all(abs((a + b) / 2 - lane) > 1.5 for a, b in painted)


def test_the_road_faces_up():
    spec, road = scenery(hills=0.0)
    chunk = build_scenery(spec, road, make_look(spec))[8]
    up = normals(chunk.quads["asphalt"])
    np.testing.assert_allclose(up[:, 2], 1.0, atol=1e-6)


def test_faces_of_a_block_point_outwards():
    block = box((-1.0, 1.0), (-2.0, 2.0), (0.0, 1.0), (1.0, 1.0, 1.0))
    outward = block.corners.mean(axis=1) - np.array([0, 0, 0.5])
    assert np.all(np.sum(normals(block) * outward, axis=1) > 0)


def test_light_is_full_towards_the_sun_and_ambient_away_from_it():
    sun = np.array([0.0, 0.0, 1.0])
    faces = np.array([[0, 0, 1.0], [0, 0, -1.0], [1.0, 0, 0]])
    light = lambert(faces, np.zeros(3, bool), sun)
    assert light[0] == 1.0 and light[1] == light[2] < 1.0
    assert np.all(lambert(faces, np.ones(3, bool), sun) == 1.0)


def test_sun_is_a_unit_vector_above_the_horizon():
    for seed in range(20):
        sun = sun_vector(make_spec(seed))
        assert np.linalg.norm(sun) == pytest.approx(1.0, abs=1e-3) and sun[2] > 0.5


def test_street_light_is_brightest_under_a_lamp_and_periodic():
    s, d = np.array([0.0, LAMP_SPACING / 2, LAMP_SPACING]), np.full(3, LAMP_SIDES[0])
    light = street_light(s, d)
    assert light[0] == light[2] > 3 * light[1]
    assert night_factor(np.array([20.0]), np.array([100.0]))[0] == pytest.approx(NIGHT_FLOOR)


@pytest.mark.parametrize("kind", SIZES)
def test_a_vehicle_fills_its_box(kind):
    """The 2D boxes are exact only if the drawn body (shadow apart) is as large as the 3D box."""
    width, length, height = SIZES[kind]
    quads = body(kind, 0)
    points = quads.corners[quads.corners[..., 2].max(axis=1) > 0.05].reshape(-1, 3)
    low, high = points.min(axis=0), points.max(axis=0)
    np.testing.assert_allclose(high - low, [width, length, height], atol=0.08)
    np.testing.assert_allclose(low, [-width / 2, -length / 2, 0.0], atol=0.06)


def test_colours_differ():
    assert len({body("sedan", color).colors.tobytes() for color in range(len(PALETTE))}) == len(
        PALETTE
    )


@pytest.mark.parametrize("kind", SIZES)
def test_lamps_sit_at_the_ends(kind):
    at = lamps(kind)
    assert np.all(at.tail[:, 1] < -SIZES[kind][1] / 2) and np.all(at.head[:, 1] > 0)


def test_sky_meets_the_fog_at_the_horizon_and_closes_around():
    spec = make_spec(4)
    look = make_look(spec)
    azimuth = np.array([0.3, 0.3 + 2 * np.pi])
    sky = make_panorama(spec, look, 200.0, azimuth, (100, 60))
    np.testing.assert_allclose(sky[:, :, 0], sky[:, :, 1], atol=1e-4)
    assert sky.min() >= 0
    # Below the hills' foot lies haze: between the hills' colour and the horizon's.
    assert np.all(np.abs(sky[:, -1, 0] - look.horizon) < 0.35)
