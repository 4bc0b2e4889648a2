"""The loop around any solver: compiled once, indifferent to batch, shape, devices and target."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.core.shapes import expand_like
from vldm_jax.diffusion.denoiser import make_denoiser
from vldm_jax.diffusion.process import alpha_sigma
from vldm_jax.diffusion.schedules import ScaledLinearSchedule, ZeroTerminalSNR
from vldm_jax.diffusion.targets import make_target
from vldm_jax.sampling.grids import karras, trailing, uniform
from vldm_jax.sampling.loop import make_table, sample, start, trajectory
from vldm_jax.sampling.noise import sample_keys, sample_noise
from vldm_jax.sampling.solvers.ddim import DDIM
from vldm_jax.sampling.solvers.dpmpp_2m import DPMpp2M
from vldm_jax.sampling.solvers.heun import Heun

SD = ScaledLinearSchedule()
KEY = jax.random.key(5)
# One of each kind: coefficients and keys, two evaluations a step, memory.
SOLVERS = [DDIM(eta=0.7), Heun(), DPMpp2M()]


def curved(x, sigma):
    """A denoiser with no closed-form flow, each sample on its own."""
    return jnp.tanh(x / (1 + sigma))


def gaussian_network(schedule, target, deviation):
    """The best network for data N(0, deviation^2), by its discrete time."""

    def predict(z, time):
        alpha, sigma = alpha_sigma(schedule, time)
        a, s = expand_like(alpha, z), expand_like(sigma, z)
        x0 = z * a * deviation**2 / (a**2 * deviation**2 + s**2)
        return make_target(target, x0, (z - a * x0) / s, alpha, sigma)

    return predict


def run(denoise, solver, sigmas, noise):
    return jax.jit(lambda n, key: sample(denoise, solver, sigmas, n, key))(noise, KEY)


@pytest.mark.parametrize("solver", SOLVERS, ids=str)
def test_scan_is_the_plain_loop(solver):
    sigmas, x = karras(SD, 6), sample_noise(KEY, (2, 3, 4))
    scanned, x0s = jax.jit(lambda x: trajectory(curved, solver, sigmas, x, KEY))(x)
    table, memory = make_table(solver, sigmas, KEY), solver.start(x)
    for i in range(6):
        row = jax.tree.map(lambda leaf: leaf[i], table)  # noqa: B023
        x, x0, memory = solver.step(curved, x, row, memory)
        np.testing.assert_allclose(x0s[i], x0, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(scanned, x, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("solver", SOLVERS, ids=str)
def test_traced_once_for_any_number_of_steps_and_calls(solver):
    traces = []

    def denoise(x, sigma):
        traces.append(sigma)
        return curved(x, sigma)

    run = jax.jit(lambda noise, key: sample(denoise, solver, uniform(SD, 20), noise, key))
    for seed in range(2):
        run(sample_noise(jax.random.key(seed), (2, 4)), jax.random.key(seed))
    assert run._cache_size() == 1
    # lax traces a loop's body at most twice (once to find the carry's types)
    assert len(traces) <= 2 * (2 if isinstance(solver, Heun) else 1)


@pytest.mark.parametrize("solver", SOLVERS, ids=str)
def test_a_sample_is_independent_of_the_batch(solver):
    noise = jax.random.normal(KEY, (5, 3, 2, 2, 1))
    many, few = (run(curved, solver, uniform(SD, 8), n) for n in (noise, noise[:2]))
    np.testing.assert_allclose(many[:2], few, rtol=1e-5, atol=1e-6)


def test_rows_of_noise_differ_and_do_not_depend_on_each_other():
    noise = sample_noise(KEY, (4, 1000))
    assert abs(np.corrcoef(noise) - np.eye(4)).max() < 0.15
    np.testing.assert_array_equal(noise[:2], sample_noise(KEY, (2, 1000)))


def test_with_keys_of_its_own_a_sample_may_be_in_any_row():
    index = jnp.arange(5)
    keys, noise = sample_keys(KEY, index), sample_noise(sample_keys(KEY, index), (5, 6))
    draw = jax.jit(lambda n, k: sample(curved, DDIM(eta=1.0), uniform(SD, 4), n, k))
    np.testing.assert_allclose(draw(noise, keys)[3:], draw(noise[3:], keys[3:]), atol=1e-6)
    # one key stands for those of the rows 0, 1, ...
    np.testing.assert_array_equal(noise, sample_noise(KEY, (5, 6)))


def test_rows_do_not_share_the_noise_of_the_steps():
    noise, keys = jnp.zeros((2, 500)), sample_keys(KEY, jnp.arange(2))
    ends = sample(curved, DDIM(eta=1.0), uniform(SD, 4), noise, keys)
    assert abs(np.corrcoef(ends)[0, 1]) < 0.2


def test_every_step_has_a_key_of_its_own():
    keys = jax.random.key_data(make_table(DDIM(), uniform(SD, 50), KEY).key)
    assert len(np.unique(np.asarray(keys), axis=0)) == 50


@pytest.mark.parametrize("shape", [(2, 5), (2, 4, 4, 3), (1, 2, 4, 4, 3)])
def test_any_shape_behind_the_batch(shape):
    z0 = run(curved, DDIM(), uniform(SD, 4), jnp.ones(shape))
    assert z0.shape == shape
    assert z0.dtype == jnp.float32


def test_low_precision_noise_is_sampled_in_float32():
    noise = jnp.ones((2, 4), jnp.bfloat16)
    assert run(curved, DPMpp2M(), uniform(SD, 4), noise).dtype == jnp.float32


@pytest.mark.parametrize("solver", SOLVERS, ids=str)
def test_a_full_grid_ends_at_the_last_x0(solver):
    end, x0s = trajectory(curved, solver, uniform(SD, 4), sample_noise(KEY, (2, 3)), KEY)
    assert x0s.shape == (4, 2, 3)
    np.testing.assert_allclose(end, x0s[-1], atol=1e-6)


def test_start_is_unit_variance_in_the_networks_coordinates():
    sigmas = uniform(SD, 10)
    noise = sample_noise(KEY, (2, 8))
    alpha = SD.alphas()[901]
    np.testing.assert_allclose(start(noise, sigmas) * alpha, noise, rtol=1e-5)


def test_batch_over_devices_is_the_same():
    mesh = jax.make_mesh((4,), ("b",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("b"))
    noise = sample_noise(KEY, (8, 4, 4, 2))
    run = jax.jit(lambda n: sample(curved, DDIM(eta=1.0), uniform(SD, 8), n, KEY))
    np.testing.assert_allclose(run(jax.device_put(noise, spread)), run(noise), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("solver", [DDIM(eta=1.0), DPMpp2M()], ids=str)
def test_the_target_of_a_perfect_network_does_not_matter(solver):
    noise = sample_noise(KEY, (2, 16))
    ends = []
    for target in ("epsilon", "v", "x0"):
        denoise = make_denoiser(gaussian_network(SD, target, 0.5), SD, target)
        ends.append(run(denoise, solver, uniform(SD, 20), noise))
    np.testing.assert_allclose(ends[1], ends[0], atol=1e-4)
    np.testing.assert_allclose(ends[2], ends[0], atol=1e-4)


@pytest.mark.parametrize(
    ("solver", "grid", "steps", "tolerance"),
    [(DDIM(), trailing, 100, 0.05), (Heun(), karras, 60, 0.02), (DPMpp2M(), karras, 60, 0.02)],
)
def test_zero_terminal_snr_network_samples_its_data(solver, grid, steps, tolerance):
    schedule = ZeroTerminalSNR(base=SD)
    denoise = make_denoiser(gaussian_network(schedule, "v", 0.5), schedule, "v")
    noise = sample_noise(KEY, (2, 64))
    # The last step to 0 shrinks a Gaussian by sigma^2 / (2 deviation^2): 3% and 0.2% here.
    z0 = run(denoise, solver, grid(schedule, steps), noise)
    np.testing.assert_allclose(z0, 0.5 * noise, rtol=tolerance, atol=1e-3)


@pytest.mark.parametrize("sigmas", [[1.0], [1.0, 1.0, 0.0], [0.0, 1.0], [1.0, -0.1]], ids=str)
def test_grids_that_do_not_decrease_are_refused(sigmas):
    with pytest.raises(InputError, match="must decrease to 0 or more"):
        sample(curved, DDIM(), np.asarray(sigmas, np.float32), jnp.ones((1, 2)), KEY)
