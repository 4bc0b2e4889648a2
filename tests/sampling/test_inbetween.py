"""Baselines of interpolation: closed forms of blending, what is looked at, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.sampling.inbetween import PIXELS, InBetween, average

AVERAGE = InBetween(middle=average)
KEY, INDEX = jax.random.key(0), jnp.arange(2)


def made(maker, video):
    return np.asarray(maker({}, KEY, INDEX, {PIXELS: jnp.asarray(video)}))


@pytest.mark.parametrize("frames", [3, 5, 8])
def test_the_average_of_an_even_change_of_brightness_is_exact(frames):
    """To the byte, up and down, at any number of frames."""
    step = np.random.default_rng(0).integers(-12, 13, (2, 1, 4, 6, 3))
    video = 128 + step * np.arange(frames).reshape(1, -1, 1, 1, 1)
    video = video.astype(np.uint8)
    np.testing.assert_array_equal(made(AVERAGE, video), video)


def test_only_the_ends_are_looked_at_and_they_come_out_as_they_went_in():
    video = np.random.default_rng(1).integers(0, 256, (2, 5, 4, 6, 3), dtype=np.uint8)
    out = made(AVERAGE, video)
    np.testing.assert_array_equal(out[:, [0, -1]], video[:, [0, -1]])
    hidden = video.copy()
    hidden[:, 1:-1] = 0
    np.testing.assert_array_equal(made(AVERAGE, hidden), out)
    first, last = (video[:, i].astype(float) for i in (0, -1))
    np.testing.assert_allclose(out[:, 1], 0.75 * first + 0.25 * last, atol=0.51)


def test_a_middle_is_called_with_the_parameters_and_times_in_order():
    maker = InBetween(middle=lambda params, first, last, time: first * 0 + params * time)
    video = np.zeros((2, 5, 2, 2, 3), np.uint8)
    out = maker(jnp.float32(0.8), KEY, INDEX, {PIXELS: jnp.asarray(video)})
    expected = np.round((0.8 * np.array([0.25, 0.5, 0.75]) + 1) * 127.5)
    np.testing.assert_array_equal(out[1, 1:-1, 0, 0, 0], expected)


def test_samples_that_are_not_finite_are_named_and_no_clip_is_an_error():
    video = np.zeros((2, 3, 2, 2, 3), np.uint8)
    video[1, 0] = 9
    broken = InBetween(middle=lambda params, first, last, time: jnp.log(-0.95 - first))
    with pytest.raises(InputError, match=r"samples \[1\] are not finite"):
        made(broken, video)
    with pytest.raises(InputError, match="no frame is given to put others between"):
        AVERAGE({}, KEY, INDEX, {})
