import numpy as np
import pytest

from vldm_jax.driving.boxes import (
    NEAR_PLANE,
    box_corners,
    camera_axes,
    is_visible,
    project_box,
)

FOCAL, ASPECT = 1.1, 2.0


def surface(corners, n=30):
    """Points all over the box: the convex combinations of its corners on a fine grid."""
    u = np.linspace(0, 1, n)
    a, b, c = np.meshgrid(u, u, u, indexing="ij")
    origin = corners[0]
    grid = np.stack([a, b, c], -1).reshape(-1, 3)
    return origin + grid @ np.stack([corners[i] - origin for i in (1, 2, 4)])


def place(heading, centre):
    local = box_corners(1.8, 4.5, 1.5)
    turn = np.array([[np.cos(heading), 0, -np.sin(heading)], [np.sin(heading), 0, np.cos(heading)]])
    flat = local[:, :2] @ turn
    flat[:, 1] += local[:, 2]
    return flat + centre


def brute_force(corners):
    points = surface(corners)
    points = points[points[:, 2] >= NEAR_PLANE]
    x = 0.5 + FOCAL * points[:, 0] / points[:, 2]
    y = 0.5 - FOCAL * ASPECT * points[:, 1] / points[:, 2]
    return np.clip([x.min(), y.min(), x.max(), y.max()], 0, 1)


@pytest.mark.parametrize("heading", [0.0, 0.4, np.pi, 2.0])
@pytest.mark.parametrize("centre", [(0, -1.4, 20.0), (4.0, -1.4, 9.0), (-3.4, -1.4, 4.0)])
def test_box_is_the_extent_of_all_projected_points(heading, centre):
    corners = place(heading, np.array(centre))
    box, nearest = project_box(corners, FOCAL, ASPECT)
    np.testing.assert_allclose(box, brute_force(corners), atol=2e-3)
    assert nearest == pytest.approx(corners[:, 2].min())


def test_box_of_a_car_that_reaches_behind_the_camera_is_cut_at_the_near_plane():
    corners = place(0.0, np.array([1.6, -1.6, 1.5]))
    assert corners[:, 2].min() < 0
    box, nearest = project_box(corners, FOCAL, ASPECT)
    # Points in front of the near plane run off the picture to the right and below.
    assert box[2] == 1.0 and box[3] == 1.0 and 0.5 < box[0] < 1.0
    assert nearest == NEAR_PLANE
    np.testing.assert_allclose(box[:2], brute_force(corners)[:2], atol=5e-3)


def test_the_cut_at_the_near_plane_bounds_the_box():
    """A thin rod from behind the camera to 3.75 m ahead: its widest part is the cut at 0.4 m."""
    local = box_corners(0.2, 4.5, 0.1)
    corners = local[:, [0, 2, 1]] + np.array([0.0, -0.05, 1.5])
    box, _ = project_box(corners, FOCAL, ASPECT)
    x, y = FOCAL * 0.1 / NEAR_PLANE, FOCAL * ASPECT * 0.05 / NEAR_PLANE
    np.testing.assert_allclose(box, [0.5 - x, 0.5 - y, 0.5 + x, 0.5 + y], atol=1e-9)


@pytest.mark.parametrize("centre", [(0, -1.4, -10.0), (80.0, -1.4, 20.0)])
def test_no_box_behind_or_beside_the_picture(centre):
    assert project_box(place(0.0, np.array(centre, float)), FOCAL, ASPECT) is None


@pytest.mark.parametrize("heading,pitch", [(0.0, 0.0), (0.7, -0.1), (-2.0, 0.3)])
def test_camera_axes_are_a_right_handed_frame_looking_where_they_should(heading, pitch):
    axes = camera_axes(heading, pitch)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    right, up, forward = axes
    np.testing.assert_allclose(np.cross(right, forward), up, atol=1e-12)
    assert np.arctan2(forward[0], forward[1]) == pytest.approx(heading)
    assert np.arcsin(forward[2]) == pytest.approx(pitch)
    assert right[2] == 0.0


def test_visible_until_something_nearer_covers_it():
    box = np.array([0.25, 0.25, 0.75, 0.75])
    depth = np.full((64, 128), 300.0)
    assert is_visible(box, 30.0, depth)
    depth[:, :64] = 5.0
    assert is_visible(box, 30.0, depth)
    depth[:, :] = 5.0
    assert not is_visible(box, 30.0, depth)
    # The car itself is never in its own way, nor is what lies behind it.
    assert is_visible(box, 30.0, np.full((64, 128), 30.0))


@pytest.mark.parametrize("box", [(0.5, 0.5, 0.505, 0.9), (0.5, 0.5, 0.9, 0.52)])
def test_specks_are_not_visible(box):
    assert not is_visible(np.array(box), 30.0, np.full((64, 128), 300.0))
