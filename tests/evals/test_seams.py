import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from shifted_textures import flow_params, moving

from vldm_jax.core.errors import InputError
from vldm_jax.evals.seams import (
    FLOOR,
    seam_ratio_in_space,
    seam_ratio_in_time,
    time_ratio,
)
from vldm_jax.evals.warp import warp_errors


def smooth_videos(b=2, t=4, h=48, w=64):
    """Soft pictures with fine noise, alike everywhere."""
    noise = np.random.default_rng(0).normal(size=(2, b, t, h, w, 3))
    soft = gaussian_filter(noise[0], (0, 0, 6, 6, 0))
    return np.uint8(np.clip(128 + 40 * soft / soft.std() + 1.5 * noise[1], 0, 255))


def brighter(videos, where, by):
    out = videos.astype(int)
    out[where] += by
    return np.uint8(np.clip(out, 0, 255))


@pytest.mark.slow
def test_a_jump_of_brightness_at_a_border_in_time_is_seen():
    video = moving([(n, 0) for n in range(7)])
    jump = brighter(video, np.s_[:, 3:], 10)
    errors = warp_errors(flow_params(), np.concatenate([video, jump])).everywhere
    assert time_ratio(errors[:1], (3,)) == pytest.approx(1, abs=0.25)
    assert time_ratio(errors[1:], (3,)) > 2.5
    assert time_ratio(errors[1:], (5,)) < 1
    both = (time_ratio(errors[:1], (3,)) + time_ratio(errors[1:], (3,))) / 2
    assert time_ratio(errors, (3,)) == pytest.approx(both)
    of_videos = seam_ratio_in_time(flow_params(), jump, (3,))
    assert of_videos == pytest.approx(time_ratio(errors[1:], (3,)), rel=1e-3)


def test_a_cut_at_a_border_in_time_is_seen_though_no_pixel_stays_visible():
    video = np.concatenate([moving([(n, 0) for n in range(3)], seed=s) for s in (0, 1)], axis=1)
    assert seam_ratio_in_time(flow_params(), video, (3,)) > 3


def test_errors_at_borders_over_those_elsewhere():
    errors = np.array([[0.02, 0.06, 0.02, 0.06, 0.02]])
    expected = (0.06 + FLOOR) / (0.02 + FLOOR)
    assert time_ratio(errors, (2, 4)) == pytest.approx(expected)
    assert time_ratio(np.full((3, 5), 0.02), (1, 5)) == pytest.approx(1)
    assert time_ratio(np.zeros((1, 5)), (3,)) == 1


@pytest.mark.parametrize(("axis", "name", "at"), [(2, "rows", 24), (3, "columns", 40)])
def test_a_tile_that_is_two_grey_levels_brighter_is_seen_at_its_line_only(axis, name, at):
    videos = smooth_videos()
    beyond = (slice(None),) * axis + (slice(at, None),)
    tiled = brighter(videos, beyond, 2)
    assert seam_ratio_in_space(videos, **{name: (at,)}) == pytest.approx(1, abs=0.12)
    assert seam_ratio_in_space(tiled, **{name: (at,)}) > 1.5
    assert seam_ratio_in_space(tiled, **{name: (at + 8,)}) < 1.1
    other = {"rows": "columns", "columns": "rows"}[name]
    assert seam_ratio_in_space(tiled, **{other: (16,)}) == pytest.approx(1, abs=0.12)


def test_rows_and_columns_are_averaged():
    videos = brighter(smooth_videos(), np.s_[:, :, 24:], 4)
    rows, columns = (seam_ratio_in_space(videos, **{k: (24,)}) for k in ("rows", "columns"))
    both = seam_ratio_in_space(videos, rows=(24,), columns=(24,))
    assert both == pytest.approx((rows + columns) / 2)


def test_a_step_on_flat_ground_has_its_own_height():
    """(2 + 0.5) / 0.5 grey levels: smooth sides have no third difference."""
    videos = np.full((1, 2, 32, 32, 3), 100, np.uint8)
    assert seam_ratio_in_space(videos, rows=(16,)) == 1
    step = brighter(videos, np.s_[:, :, 16:], 2)
    assert seam_ratio_in_space(step, rows=(16,)) == pytest.approx(5)
    ramp = np.uint8(np.broadcast_to(np.arange(32)[:, None, None] * 4, (1, 2, 32, 32, 3)))
    assert seam_ratio_in_space(ramp, rows=(16,)) == 1


def test_borders_that_cannot_be_are_refused():
    videos, errors = np.zeros((1, 3, 32, 32, 3), np.uint8), np.zeros((1, 4))
    with pytest.raises(InputError, match="no borders of tiles"):
        seam_ratio_in_space(videos)
    for rows in ((1,), (16, 31)):
        with pytest.raises(InputError, match="give rows from 2 to 30"):
            seam_ratio_in_space(videos, rows=rows)
    with pytest.raises(InputError, match="only borders are near"):
        seam_ratio_in_space(videos, columns=tuple(range(2, 31)))
    for borders in ((), (0,), (5,)):
        with pytest.raises(InputError, match="give frames from 1 to 4"):
            time_ratio(errors, borders)
    with pytest.raises(InputError, match="every frame begins at a border"):
        time_ratio(errors, (1, 2, 3, 4))
