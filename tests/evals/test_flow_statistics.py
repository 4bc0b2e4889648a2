import numpy as np
import pytest
from shifted_textures import flow_params, moving

from vldm_jax.core.errors import InputError
from vldm_jax.evals.flow_statistics import FEATURES, flow_features, flow_statistics


def named(flows):
    return dict(zip(FEATURES, flow_statistics(flows), strict=True))


def even(right, down, t=4, h=10, w=13):
    return np.broadcast_to(np.float32([right, down]), (t, h, w, 2))


def directions(features):
    return np.array([features[f"direction_{45 * i}"] for i in range(8)])


def test_a_still_clip_is_zero():
    np.testing.assert_array_equal(flow_statistics(even(0, 0)), 0)


def test_an_even_motion_is_its_length_in_every_cell_and_its_direction():
    found = named(even(3, 4))
    assert all(found[f"length_{i}_{j}"] == pytest.approx(5) for i in range(4) for j in range(4))
    assert (found["right"], found["down"]) == (3, 4)
    assert found["length_deviation"] == found["unevenness"] == found["change"] == 0
    turn = np.degrees(np.arctan2(4, 3)) / 45
    expected = np.zeros(8)
    expected[1:3] = 5 * (2 - turn), 5 * (turn - 1)
    np.testing.assert_allclose(directions(found), expected, atol=1e-5)


@pytest.mark.parametrize("index", range(8))
def test_directions_turn_from_right_over_down(index):
    angle = np.pi / 4 * index
    found = directions(named(even(2 * np.cos(angle), 2 * np.sin(angle))))
    np.testing.assert_allclose(found, 2 * np.eye(8)[index], atol=1e-5)


def test_directions_add_up_to_the_mean_length():
    flows = np.random.default_rng(0).normal(size=(3, 8, 9, 2)).astype(np.float32)
    length = np.linalg.norm(flows, axis=-1)
    found = named(flows)
    assert directions(found).sum() == pytest.approx(length.mean(), rel=1e-5)
    assert found["length_deviation"] == pytest.approx(length.std(), rel=1e-5)


def test_cells_are_where_the_motion_is():
    flows = np.zeros((3, 8, 16, 2), np.float32)
    flows[:, 2:4, 12:, 1] = -2
    found = named(flows)
    moving_cells = {name for name, value in found.items() if value and name.startswith("length_")}
    assert moving_cells == {"length_1_3", "length_deviation"}
    assert found["unevenness"] == found["change"] == 0
    assert found["length_1_3"] == found["direction_270"] * 16 == 2


def test_a_jerk_is_uneven_and_a_turn_is_a_change():
    jerk = np.concatenate([even(1, 0), even(3, 0)])
    assert named(jerk)["unevenness"] == pytest.approx(1)
    turn = np.concatenate([even(2, 0), even(0, 2)])
    assert named(turn)["unevenness"] == pytest.approx(0, abs=1e-6)
    assert named(turn)["change"] == pytest.approx(np.hypot(2, 2) / 7)


@pytest.mark.slow
def test_features_of_clips_whose_motion_is_known():
    steps = [[(2 * n, 0) for n in range(3)], [(0, -2 * n) for n in range(3)], [(0, 0)] * 3]
    clips = np.concatenate([moving(s, seed=i) for i, s in enumerate(steps)])
    found = flow_features(flow_params(), clips)
    assert found.shape == (3, len(FEATURES)) == (3, 29)
    right, up, still = (dict(zip(FEATURES, row, strict=True)) for row in found)
    assert right["right"] == pytest.approx(2, abs=0.3)
    assert directions(right).argmax() == 0
    assert up["down"] == pytest.approx(-2, abs=0.3)
    assert directions(up).argmax() == 6
    np.testing.assert_allclose(list(still.values()), 0, atol=0.05)


def test_too_little_is_refused():
    for shape in ((0, 3, 8, 8, 3), (1, 2, 8, 8, 3), (1, 3, 3, 8, 3)):
        with pytest.raises(InputError, match="three frames of 4x4"):
            flow_features({}, np.zeros(shape, np.uint8))
