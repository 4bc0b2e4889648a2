import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.core.shapes import expand_like
from vldm_jax.diffusion.denoiser import make_denoiser
from vldm_jax.diffusion.process import alpha_sigma
from vldm_jax.diffusion.schedules import CosineSchedule, ScaledLinearSchedule, ZeroTerminalSNR
from vldm_jax.diffusion.targets import TARGETS, make_target

SD = ScaledLinearSchedule()
MEAN = 0.3


def gaussian_network(schedule, target, deviation):
    """The best possible network for data N(MEAN, deviation^2); deviation 0 is a point mass."""

    def predict(z, time):
        alpha, sigma = alpha_sigma(schedule, time)
        a, s = expand_like(alpha, z), expand_like(sigma, z)
        gain = a * deviation**2 / (a**2 * deviation**2 + s**2)
        x0 = MEAN + gain * (z - a * MEAN)
        return make_target(target, x0, (z - a * x0) / s, alpha, sigma)

    return predict


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("schedule", [SD, CosineSchedule()], ids=str)
def test_point_mass_is_found_from_any_level(target, schedule):
    denoise = make_denoiser(gaussian_network(schedule, target, 0.0), schedule, target)
    noise = jax.random.normal(jax.random.key(0), (2, 3, 4, 4, 2))
    for sigma in (0.05, 1.0, 14.0):
        np.testing.assert_allclose(
            denoise(MEAN + sigma * noise, jnp.float32(sigma)), MEAN, atol=1e-4
        )


@pytest.mark.parametrize("target", TARGETS)
def test_gaussian_data_gives_its_posterior_mean(target):
    denoise = make_denoiser(gaussian_network(SD, target, 0.5), SD, target)
    noise = jax.random.normal(jax.random.key(0), (2, 4, 4, 2))
    for sigma in (0.05, 1.0, 14.0):
        x = MEAN + sigma * noise
        expected = MEAN + 0.25 / (0.25 + sigma**2) * (x - MEAN)
        np.testing.assert_allclose(denoise(x, jnp.float32(sigma)), expected, atol=2e-4)


def test_posterior_mean_at_the_capped_end_of_zero_terminal_snr():
    schedule = ZeroTerminalSNR(base=SD)
    denoise = make_denoiser(gaussian_network(schedule, "v", 0.5), schedule, "v")
    sigma = jnp.float32(schedule.k_sigmas()[-1])
    x = sigma * jax.random.normal(jax.random.key(0), (2, 4, 4, 2))
    np.testing.assert_allclose(denoise(x, sigma), MEAN, atol=1e-3)


def test_network_sees_unit_variance_and_the_discrete_times_of_the_grid():
    seen = []

    def predict(z, time):
        seen.append((float(jnp.std(z)), time.tolist(), time.dtype))
        return z

    denoise = make_denoiser(predict, SD, "v")
    noise = jax.random.normal(jax.random.key(0), (3, 32, 32, 4))
    for time in (1, 500, 999):
        sigma = jnp.float32(SD.k_sigmas()[time])
        denoise(jnp.sqrt(1 + sigma**2) * noise, sigma)
        deviation, times, dtype = seen.pop()
        assert deviation == pytest.approx(1.0, abs=0.02)
        assert times == [float(time)] * 3
        assert dtype == jnp.float32


def test_every_sample_may_have_its_own_level():
    denoise = make_denoiser(gaussian_network(SD, "epsilon", 0.5), SD, "epsilon")
    x = jax.random.normal(jax.random.key(0), (2, 3, 4, 4, 2))
    sigma = jnp.asarray([0.2, 5.0])
    together = denoise(x, sigma)
    for i in range(2):
        np.testing.assert_allclose(
            together[i : i + 1], denoise(x[i : i + 1], sigma[i]), rtol=1e-4, atol=1e-4
        )


def test_epsilon_at_zero_terminal_snr_is_refused():
    with pytest.raises(InputError, match="zero-terminal-SNR.*'v'"):
        make_denoiser(lambda z, time: z, ZeroTerminalSNR(base=SD), "epsilon")


def test_unknown_target_is_refused_before_anything_runs():
    with pytest.raises(InputError, match="unknown prediction target"):
        make_denoiser(lambda z, time: z, SD, "flow")
