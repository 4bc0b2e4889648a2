import jax.numpy as jnp
import numpy as np
import pytest
from shifted_textures import flow_params, moving

from vldm_jax.core.errors import InputError
from vldm_jax.evals import warp
from vldm_jax.evals.warp import WarpErrors, warp_errors

STEPS = [(0, 0), (2, 1), (4, 2)]


def test_motion_is_no_error_and_flicker_is():
    still = moving(STEPS[:1] * 3)
    steady = moving(STEPS)
    flickering = np.uint8(np.clip(steady.astype(int) + [[[[[0]]], [[[30]]], [[[0]]]]], 0, 255))
    found = warp_errors(flow_params(), np.concatenate([still, steady, flickering]))
    change = np.abs(np.diff(steady[0].astype(float), axis=0)).mean() / 255
    still, steady, flickering = found.visible.mean(axis=1)
    assert still < 1e-3
    assert steady < 0.25 * change
    assert flickering == pytest.approx(30 / 255, rel=0.35)
    assert found.share.shape == (3, 2) and found.share[:2].min() > 0.8
    assert (found.everywhere >= 0).all() and found.everywhere[2].mean() > 0.08
    assert found.mean() == pytest.approx(np.average(found.visible, weights=found.share))


def constant_flow(monkeypatch, flow, seen):
    """Replace the network by a flow that is known; parameters are then of no matter."""

    def known(params, x, y):
        shape = x.shape[:3]
        return jnp.broadcast_to(jnp.float32(flow), (*shape, 2)), jnp.full(shape, seen, jnp.float32)

    monkeypatch.setattr(warp, "flow_and_visible", known)
    monkeypatch.setattr(warp, "_errors", warp._errors.__wrapped__)


def test_error_is_in_shares_of_the_range_of_values(monkeypatch):
    constant_flow(monkeypatch, (0, 0), 1)
    video = np.zeros((1, 3, 8, 8, 3), np.uint8)
    video[:, 1] = 255
    video[:, 2, :4] = 255
    found = warp_errors({}, video)
    np.testing.assert_allclose(found.visible, [[1.0, 0.5]], atol=1e-6)
    np.testing.assert_allclose(found.everywhere, found.visible)
    assert found.mean() == pytest.approx(0.75)


def test_a_frame_is_predicted_by_following_the_flow_back(monkeypatch):
    """What moves 3 to the right comes from 3 to the left."""
    constant_flow(monkeypatch, (-3, 0), 1)
    video = np.zeros((1, 2, 8, 16, 3), np.uint8)
    video[0, 0, 2:4, 4:6] = 200
    video[0, 1, 2:4, 7:9] = 200
    assert warp_errors({}, video).everywhere.max() == 0
    assert warp_errors({}, video[:, ::-1]).everywhere.max() > 0.01


def test_what_is_not_visible_does_not_count_and_nothing_visible_is_an_error(monkeypatch):
    constant_flow(monkeypatch, (0, 0), 0)
    video = np.random.default_rng(0).integers(0, 256, (1, 2, 8, 8, 3)).astype(np.uint8)
    found = warp_errors({}, video)
    assert found.visible.item() == found.share.item() == 0.0
    assert found.everywhere.item() > 0.1
    with pytest.raises(InputError, match="no pixel is visible in two frames"):
        found.mean()


def test_mean_weighs_pairs_by_their_visible_pixels():
    errors = WarpErrors(
        visible=np.array([[0.1, 0.0, 0.3]]),
        everywhere=np.ones((1, 3)),
        share=np.array([[1.0, 0.0, 0.5]]),
    )
    assert errors.mean() == pytest.approx((0.1 + 0.3 * 0.5) / 1.5)
