import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.diffusion.process import add_noise, alpha_sigma
from vldm_jax.diffusion.schedules import CosineSchedule, ScaledLinearSchedule
from vldm_jax.diffusion.targets import TARGETS, convert, make_target, to_x0_eps


@pytest.fixture(params=[ScaledLinearSchedule(), CosineSchedule()], ids=str)
def noised(request):
    """A batch of videos at early, middle and late times: x0, eps, z, (alpha, sigma)."""
    x0, eps = jax.random.normal(jax.random.key(1), (2, 3, 2, 4, 4, 3))
    pair = alpha_sigma(request.param, jnp.asarray([5, 500, 900]))
    return x0, eps, add_noise(x0, eps, *pair), pair


@pytest.mark.parametrize("target", TARGETS)
def test_a_perfect_prediction_gives_back_what_was_added(target, noised):
    x0, eps, z, pair = noised
    prediction = make_target(target, x0, eps, *pair)
    recovered = to_x0_eps(target, prediction, z, *pair)
    np.testing.assert_allclose(recovered[0], x0, atol=2e-5)
    np.testing.assert_allclose(recovered[1], eps, atol=2e-5)


@pytest.mark.parametrize(("source", "target"), [*itertools.product(TARGETS, TARGETS)])
def test_there_and_back_for_any_prediction(source, target, noised):
    _, _, z, pair = noised
    prediction = jax.random.normal(jax.random.key(2), z.shape)  # a network that is wrong
    there = convert(source, target, prediction, z, pair)
    np.testing.assert_allclose(convert(target, source, there, z, pair), prediction, atol=1e-3)


@pytest.mark.parametrize("target", TARGETS)
def test_the_pair_always_explains_z(target, noised):
    _, _, z, pair = noised
    prediction = jax.random.normal(jax.random.key(2), z.shape)
    np.testing.assert_allclose(
        add_noise(*to_x0_eps(target, prediction, z, *pair), *pair), z, atol=1e-5
    )


def test_v_is_the_velocity_of_z_along_the_circle():
    # With alpha = cos(angle), sigma = sin(angle), v = dz / d angle (arXiv:2202.00512, App. D).
    x0, eps = jax.random.normal(jax.random.key(0), (2, 1, 8))
    angle = jnp.asarray([0.7])
    _, velocity = jax.jvp(
        lambda a: add_noise(x0, eps, jnp.cos(a), jnp.sin(a)), (angle,), (jnp.ones(1),)
    )
    np.testing.assert_allclose(
        make_target("v", x0, eps, jnp.cos(angle), jnp.sin(angle)), velocity, atol=1e-6
    )


def test_v_at_zero_signal_still_tells_the_data():
    x0, eps = jax.random.normal(jax.random.key(0), (2, 1, 8))
    alpha, sigma = jnp.zeros(1), jnp.ones(1)
    recovered, _ = to_x0_eps("v", make_target("v", x0, eps, alpha, sigma), eps, alpha, sigma)
    np.testing.assert_array_equal(recovered, x0)


def test_an_unknown_target_names_the_known_ones():
    x = jnp.ones((1, 2))
    with pytest.raises(InputError, match="'eps'.*epsilon, v, x0"):
        make_target("eps", x, x, jnp.ones(1), jnp.ones(1))
