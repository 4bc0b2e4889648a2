import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vldm_jax.diffusion.process import (
    add_noise,
    alpha_sigma,
    from_k_sigma,
    sigma_to_time,
    time_to_sigma,
    uniform_time,
)
from vldm_jax.diffusion.schedules import (
    CosineSchedule,
    LinearSchedule,
    ScaledLinearSchedule,
    ZeroTerminalSNR,
)

SCHEDULES = [
    LinearSchedule(),
    ScaledLinearSchedule(),
    CosineSchedule(),
    ZeroTerminalSNR(base=ScaledLinearSchedule()),
    ZeroTerminalSNR(base=LinearSchedule()),
]


@pytest.fixture(params=SCHEDULES, ids=str)
def schedule(request):
    return request.param


def test_every_time_of_the_schedule_comes_back_exactly(schedule):
    time = jnp.arange(schedule.num_steps)
    np.testing.assert_array_equal(sigma_to_time(schedule, time_to_sigma(schedule, time)), time)
    np.testing.assert_array_equal(sigma_to_time(schedule, jnp.asarray(schedule.k_sigmas())), time)


def test_times_between_come_back(schedule):
    time = jnp.asarray([0.25, 17.5, 400.1, 998.5])
    np.testing.assert_allclose(
        sigma_to_time(schedule, time_to_sigma(schedule, time)), time, rtol=0, atol=1e-2
    )


def test_times_between_lie_on_the_line_between_the_logarithms(schedule):
    sigma = np.exp(np.random.default_rng(0).uniform(-3, 2, 200)).astype(np.float32)
    logs, steps = np.log(schedule.k_sigmas(), dtype=np.float64), np.arange(schedule.num_steps)
    line = np.interp(np.log(sigma, dtype=np.float64), logs, steps)
    np.testing.assert_allclose(sigma_to_time(schedule, jnp.asarray(sigma)), line, rtol=0, atol=5e-3)


def test_the_time_of_a_sigma_is_found_without_a_loop_or_a_look_up(schedule):
    """Within the sampling loop either keeps XLA from compiling for GPUs."""
    program = jax.jit(lambda sigma: sigma_to_time(schedule, sigma)).lower(jnp.float32(1.0))
    for operation in ("while", "dynamic_slice", "gather"):
        assert f"stablehlo.{operation}" not in program.as_text()


def test_sigmas_outside_the_schedule_get_its_ends(schedule):
    sigma = jnp.asarray([0.0, 1e-6, 1e9])
    np.testing.assert_array_equal(sigma_to_time(schedule, sigma), [0.0, 0.0, 999.0])


def test_integer_and_float_times_agree(schedule):
    time = jnp.asarray([0, 1, 500, 998])
    exact, interpolated = (alpha_sigma(schedule, t) for t in (time, time.astype(jnp.float32)))
    np.testing.assert_allclose(exact, interpolated, rtol=2e-5)
    np.testing.assert_allclose(exact[0], schedule.alphas()[np.asarray(time)])


def test_ratio_to_pair(schedule):
    alpha, sigma = from_k_sigma(jnp.asarray(schedule.k_sigmas()[:-1]))
    np.testing.assert_allclose(alpha, schedule.alphas()[:-1], rtol=1e-5)
    np.testing.assert_allclose(sigma, schedule.sigmas()[:-1], rtol=1e-5)


def test_noising_keeps_unit_variance(schedule):
    z0, eps = jax.random.normal(jax.random.key(0), (2, 4, 8, 8, 64))
    alpha, sigma = alpha_sigma(schedule, jnp.asarray([0, 333, 666, 999]))
    variance = jnp.var(add_noise(z0, eps, alpha, sigma), axis=(1, 2, 3))
    # the sample variance of 4096 unit normals has deviation sqrt(2 / 4096) = 0.022
    np.testing.assert_allclose(variance, 1.0, atol=0.1)


def test_zero_terminal_snr_leaves_nothing_of_the_data():
    schedule = ZeroTerminalSNR(base=ScaledLinearSchedule())
    eps = jax.random.normal(jax.random.key(0), (1, 4, 4, 2))
    alpha, sigma = alpha_sigma(schedule, jnp.asarray([999]))
    np.testing.assert_array_equal(add_noise(jnp.full_like(eps, 1e3), eps, alpha, sigma), eps)


def test_each_sample_of_a_video_batch_gets_its_own_level():
    # as many samples as frames, so that a level on the wrong axis would not be a shape error
    z0 = jnp.ones((3, 3, 2, 2, 1))
    z = add_noise(z0, jnp.zeros_like(z0), jnp.asarray([0.0, 0.5, 1.0]), jnp.zeros(3))
    np.testing.assert_array_equal(z, jnp.broadcast_to(z[:, :1, :1, :1], z.shape))
    np.testing.assert_array_equal(z[:, 0, 0, 0, 0], [0.0, 0.5, 1.0])


def test_low_precision_latents_are_noised_in_float32():
    z0 = jnp.ones((2, 4), jnp.bfloat16)
    assert add_noise(z0, z0, jnp.ones(2), jnp.ones(2)).dtype == jnp.float32


def test_levels_of_another_batch_are_refused():
    z0 = jnp.ones((2, 4, 4, 3))
    with pytest.raises(ValueError, match="does not lead"):
        add_noise(z0, z0, jnp.ones(3), jnp.ones(3))


def test_drawn_times_cover_the_schedule_evenly():
    time = np.asarray(uniform_time(jax.random.key(0), 50_000, LinearSchedule(num_steps=10)))
    counts = np.bincount(time, minlength=10)
    assert len(counts) == 10
    np.testing.assert_allclose(counts / 5000, 1.0, atol=0.08)  # 5 deviations
