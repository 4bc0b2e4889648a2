import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.diffusion.losses import min_snr_weight, prediction_loss
from vldm_jax.diffusion.process import add_noise, alpha_sigma
from vldm_jax.diffusion.schedules import ScaledLinearSchedule, ZeroTerminalSNR
from vldm_jax.diffusion.targets import TARGETS, make_target, to_x0_eps


def test_loss_is_each_samples_own_mean():
    error = jnp.asarray([0.0, 1.0, 3.0])
    target = jax.random.normal(jax.random.key(0), (3, 2, 4, 4, 1))
    loss = prediction_loss(target + error[:, None, None, None, None], target)
    np.testing.assert_allclose(loss, [0.0, 1.0, 9.0], rtol=1e-5)


def test_low_precision_is_compared_in_float32():
    # 1000 + 1 is 1000 in bfloat16: the difference has to be taken after the cast.
    loss = prediction_loss(jnp.full((1, 8), 1000, jnp.bfloat16), jnp.full((1, 8), 1001.0))
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, 1.0)


@pytest.mark.parametrize("target", TARGETS)
def test_min_snr_weighs_every_target_as_the_same_x0_error(target):
    pair = alpha_sigma(ScaledLinearSchedule(), jnp.asarray([1, 300, 600, 990]))
    x0, eps, wrong = jax.random.normal(jax.random.key(0), (3, 4, 8))
    z = add_noise(x0, eps, *pair)
    y = make_target(target, x0, eps, *pair)
    loss = min_snr_weight(target, *pair, gamma=5.0) * prediction_loss(y + wrong, y)
    x0_error = prediction_loss(to_x0_eps(target, y + wrong, z, *pair)[0], x0)
    snr = (pair[0] / pair[1]) ** 2
    np.testing.assert_allclose(loss, jnp.minimum(snr, 5.0) * x0_error, rtol=1e-3)


def test_min_snr_limits():
    alpha, sigma = alpha_sigma(ZeroTerminalSNR(base=ScaledLinearSchedule()), jnp.asarray([0, 999]))
    snr = (1 - 0.00085) / 0.00085
    np.testing.assert_allclose(min_snr_weight("x0", alpha, sigma), [5.0, 0.0], rtol=1e-5)
    np.testing.assert_allclose(min_snr_weight("epsilon", alpha, sigma), [5 / snr, 1.0], rtol=1e-5)
    np.testing.assert_allclose(min_snr_weight("v", alpha, sigma), [5 / (snr + 1), 0.0], rtol=1e-5)


def test_min_snr_of_an_unknown_target_is_refused():
    with pytest.raises(InputError, match="unknown prediction target"):
        min_snr_weight("velocity", jnp.ones(1), jnp.ones(1))
