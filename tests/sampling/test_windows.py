"""Windows in a row and frames between frames: what is given stays, lengths, numbers of windows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vldm_jax.sampling.windows import interpolate, interpolated_length, roll_out

SHAPE = (2, 2, 1)  # h w c


def counting(z, given, number):
    """A window that goes on by one a frame from the last that is given."""
    last = jnp.sum(given, axis=1) - 1
    anchor = jnp.take_along_axis(z, last[:, None, None, None, None], axis=1)
    ahead = jnp.arange(z.shape[1])[None, :] - last[:, None]
    return jnp.where(given[..., None, None, None], z, anchor + ahead[..., None, None, None])


def random(z, given, number):
    new = jax.random.normal(jax.random.fold_in(jax.random.key(0), number), z.shape)
    return jnp.where(given[..., None, None, None], z, new)


@pytest.mark.parametrize("known", [1, 2, 3])
def test_windows_go_on_from_the_frames_before(known):
    tail = jnp.broadcast_to(jnp.arange(known)[None, :, None, None, None], (3, known, *SHAPE)) * 1.0
    z, last = roll_out(counting, tail, jnp.arange(4), frames=8)
    assert z.shape == (3, 4 * (8 - known), *SHAPE)
    np.testing.assert_array_equal(z[0, :, 0, 0, 0], known + np.arange(z.shape[1]))
    np.testing.assert_array_equal(last, z[:, -known:])


def test_a_video_made_in_parts_is_the_same_and_no_two_windows_are():
    tail = jnp.zeros((1, 2, *SHAPE))
    whole, _ = roll_out(random, tail, jnp.arange(6), frames=8)
    first, between = roll_out(random, tail, jnp.arange(2), frames=8)
    rest, _ = roll_out(random, between, jnp.arange(2, 6), frames=8)
    np.testing.assert_array_equal(whole, jnp.concatenate([first, rest], axis=1))
    windows = whole.reshape(6, -1)
    assert abs(np.corrcoef(windows) - np.eye(6)).max() < 0.8


def test_rolling_out_is_compiled_once_whatever_windows():
    """Only the count is a shape: numbers are data."""
    traced = []

    def window(z, given, number):
        traced.append(number)
        return counting(z, given, number)

    run = jax.jit(lambda tail, numbers: roll_out(window, tail, numbers, frames=4))
    for start in (0, 7, 100):
        run(jnp.zeros((1, 2, *SHAPE)), jnp.arange(start, start + 3))
    assert len(traced) == 1


def test_a_window_without_room_is_refused():
    with pytest.raises(ValueError, match="no room"):
        roll_out(counting, jnp.zeros((1, 4, *SHAPE)), jnp.arange(1), frames=4)


def halfway(z, given, number):
    """A window on the straight line from its first to its last frame."""
    share = jnp.linspace(0.0, 1.0, z.shape[1])[None, :, None, None, None]
    return z[:, :1] * (1 - share) + z[:, -1:] * share


def test_three_frames_come_between_two_and_key_frames_stay():
    keys = jax.random.normal(jax.random.key(1), (8, *SHAPE))
    z = interpolate(halfway, keys[:-1], keys[1:], jnp.arange(7))
    assert len(z) + 1 == interpolated_length(8) == 29
    np.testing.assert_array_equal(z[::4], keys[:-1])
    np.testing.assert_allclose(z[2::4], (keys[:-1] + keys[1:]) / 2, atol=1e-6)
    assert interpolated_length(8, rounds=2) == 113


def test_a_gap_is_the_same_alone_and_among_others():
    keys = jax.random.normal(jax.random.key(1), (4, *SHAPE))

    def noisy(z, given, number):
        new = jax.vmap(lambda n: jax.random.normal(jax.random.key(n), z.shape[1:]))(number)
        return jnp.where(given[..., None, None, None], z, new)

    whole = interpolate(noisy, keys[:-1], keys[1:], jnp.arange(3))
    alone = interpolate(noisy, keys[1:2], keys[2:3], jnp.array([1]))
    np.testing.assert_array_equal(whole[4:8], alone)
