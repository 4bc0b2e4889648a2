"""What each solver must do to data whose denoiser is known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.diffusion.schedules import ScaledLinearSchedule
from vldm_jax.sampling.grids import karras, uniform
from vldm_jax.sampling.loop import make_table, trajectory
from vldm_jax.sampling.noise import sample_noise
from vldm_jax.sampling.solvers.ancestral import Ancestral
from vldm_jax.sampling.solvers.ddim import DDIM
from vldm_jax.sampling.solvers.dpmpp_2m import DPMpp2M
from vldm_jax.sampling.solvers.euler import Euler
from vldm_jax.sampling.solvers.heun import Heun

SD = ScaledLinearSchedule()
KEY = jax.random.key(3)
SOLVERS = [Euler(), DDIM(), DDIM(eta=1.0), Ancestral(), Heun(), DPMpp2M()]
DETERMINISTIC = [(Euler(), 1), (DDIM(), 1), (Heun(), 2), (DPMpp2M(), 2)]
STOCHASTIC = [DDIM(eta=0.4), DDIM(eta=1.0), Ancestral()]


def gaussian(x, sigma, deviation=0.5):
    """E[x0 | x] of data N(0, deviation^2)."""
    return x * deviation**2 / (deviation**2 + sigma**2)


def run(denoise, solver, sigmas, x, key=KEY):
    return jax.jit(lambda x, key: trajectory(denoise, solver, sigmas, x, key)[0])(x, key)


@pytest.mark.parametrize("solver", SOLVERS, ids=str)
def test_lands_on_a_point_mass(solver):
    x = 14.6 * sample_noise(KEY, (2, 3, 4, 4, 2))
    landed = run(lambda x, sigma: jnp.full_like(x, 0.3), solver, uniform(SD, 6), x)
    np.testing.assert_allclose(landed, 0.3, atol=2e-6)


@pytest.mark.parametrize(("solver", "order"), DETERMINISTIC, ids=str)
def test_order_of_convergence(solver, order):
    # Along the probability flow of N(0, d^2), x scales as sqrt(d^2 + sigma^2).
    x = jnp.full((1, 1), 10.0)
    exact = 10.0 * np.sqrt((0.25 + 0.1**2) / (0.25 + 10.0**2))
    errors = []
    for steps in (20, 40, 80):
        sigmas = karras(SD, steps + 1, sigma_min=0.1, sigma_max=10.0)[:-1]
        errors.append(float(jnp.abs(run(gaussian, solver, sigmas, x) - exact)[0, 0]))
    np.testing.assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), order, atol=0.15)


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_ddim_is_its_papers_update_in_variance_preserving_coordinates(eta):
    times = np.asarray([801, 601, 401, 201, 1])
    alphas_bar = SD.alphas_bar().astype(np.float64)[times]
    sigmas = np.append(SD.k_sigmas()[times], 0.0).astype(np.float32)
    noises = [
        np.asarray(sample_noise(key, (2, 8)), np.float64)
        for key in make_table(DDIM(eta=eta), sigmas, KEY).key
    ]
    z = start = np.asarray(sample_noise(KEY, (2, 8)), np.float64)
    for now, after, noise in zip(alphas_bar, [*alphas_bar[1:], 1.0], noises, strict=True):
        x0 = gaussian(z / np.sqrt(now), np.sqrt((1 - now) / now))
        eps = (z - np.sqrt(now) * x0) / np.sqrt(1 - now)
        s = eta * np.sqrt((1 - after) / (1 - now)) * np.sqrt(1 - now / after)
        z = np.sqrt(after) * x0 + np.sqrt(1 - after - s**2) * eps + s * noise
    x = jnp.asarray(start / np.sqrt(alphas_bar[0]), jnp.float32)
    np.testing.assert_allclose(run(gaussian, DDIM(eta=eta), sigmas, x), z, atol=3e-6)


@pytest.mark.parametrize(
    ("ddim", "other"),
    [
        (DDIM(), Euler()),
        (DDIM(eta=1.0), Ancestral()),
        (DDIM(eta=0.4), Ancestral(eta=0.4)),
    ],
    ids=str,
)
def test_ddim_is_euler_at_eta_0_and_ancestral_above(ddim, other):
    x = 14.6 * sample_noise(KEY, (2, 8))
    sigmas = uniform(SD, 9)[:-1]
    np.testing.assert_allclose(
        run(gaussian, ddim, sigmas, x), run(gaussian, other, sigmas, x), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("solver", STOCHASTIC, ids=str)
def test_added_noise_keeps_the_marginal_exact_for_a_point_mass(solver):
    # Whatever eta and however few the steps, x at sigma is the point + N(0, sigma^2).
    sigmas = np.asarray([9.0, 4.0, 1.5, 0.7], np.float32)
    x = 9.0 * sample_noise(KEY, (40_000, 1))
    end = run(lambda x, sigma: jnp.zeros_like(x), solver, sigmas, x, jax.random.key(8))
    assert float(jnp.mean(end)) == pytest.approx(0.0, abs=5 * 0.7 / 200)
    assert float(jnp.std(end)) == pytest.approx(0.7, rel=5 / np.sqrt(2 * 40_000))


@pytest.mark.parametrize("solver", [DDIM(eta=1.0), Ancestral()], ids=str)
def test_eta_one_forgets_as_the_forward_process_does(solver):
    # x_sigma and x_sigma' of one Brownian path correlate as sigma / sigma'.
    sigmas = np.asarray([4.0, 3.0, 2.0, 1.0], np.float32)
    x = 4.0 * sample_noise(KEY, (40_000, 1))
    end = run(lambda x, sigma: jnp.zeros_like(x), solver, sigmas, x, jax.random.key(8))
    correlation = np.corrcoef(np.asarray(x)[:, 0], np.asarray(end)[:, 0])[0, 1]
    assert correlation == pytest.approx(1.0 / 4.0, abs=5 / 200)


@pytest.mark.parametrize("solver", [DDIM(eta=1.0), Ancestral(eta=0.5)], ids=str)
def test_gaussian_data_gets_its_deviation(solver):
    sigmas = karras(SD, 150)
    x = np.sqrt(0.25 + sigmas[0] ** 2).astype(np.float32) * sample_noise(KEY, (4000, 1))
    end = run(gaussian, solver, sigmas, x, jax.random.key(8))
    assert float(jnp.std(end)) == pytest.approx(0.5, rel=0.06)


def test_second_order_needs_fewer_evaluations():
    sigmas = karras(SD, 10)
    x = jnp.full((1, 1), float(sigmas[0]))
    exact = 0.5 * sigmas[0] / np.sqrt(0.25 + sigmas[0] ** 2)
    errors = [abs(float(run(gaussian, s, sigmas, x)[0, 0]) - exact) for s in (Euler(), DPMpp2M())]
    assert errors[1] < 0.5 * errors[0]


def test_heun_never_asks_at_sigma_zero():
    asked = []

    def denoise(x, sigma):
        jax.debug.callback(lambda s: asked.append(float(s)), sigma)
        return gaussian(x, sigma)

    sigmas = np.asarray([4.0, 2.0, 1.0, 0.0], np.float32)
    jax.block_until_ready(run(denoise, Heun(), sigmas, jnp.ones((1, 2))))
    jax.effects_barrier()
    assert sorted(asked) == [1.0, 1.0, 2.0, 2.0, 4.0]


@pytest.mark.parametrize("eta", [-0.1, 1.5])
def test_ddims_eta_is_between_0_and_1(eta):
    with pytest.raises(InputError, match=f"eta={eta}"):
        DDIM(eta=eta)


def test_negative_ancestral_eta_is_refused():
    with pytest.raises(InputError, match="eta=-0.1"):
        Ancestral(eta=-0.1)
