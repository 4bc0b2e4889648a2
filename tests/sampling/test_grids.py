import numpy as np
import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.diffusion.schedules import LinearSchedule, ScaledLinearSchedule, ZeroTerminalSNR
from vldm_jax.sampling.grids import karras, linspace, trailing, uniform

SD = ScaledLinearSchedule()
GRIDS = {"uniform": uniform, "trailing": trailing, "linspace": linspace, "karras": karras}


@pytest.mark.parametrize("schedule", [SD, ZeroTerminalSNR(base=SD)], ids=["sd", "zero_terminal"])
@pytest.mark.parametrize("steps", [1, 2, 7, 30, 50, 999])
@pytest.mark.parametrize("grid", GRIDS)
def test_every_grid_decreases_to_zero(grid, steps, schedule):
    if grid == "uniform" and (steps < 4 or schedule.alphas_bar()[-1] == 0.0):
        return  # refused, below
    sigmas = GRIDS[grid](schedule, steps)
    assert sigmas.shape == (steps + 1,)
    assert sigmas.dtype == np.float32
    assert np.all(np.diff(sigmas) < 0)
    assert sigmas[-1] == 0.0
    assert np.isfinite(sigmas[0]) and sigmas[0] <= schedule.k_sigmas()[-1] * (1 + 1e-6)


def test_uniform_stops_where_latent_diffusion_does():
    sigmas = uniform(SD, 5)
    np.testing.assert_array_equal(sigmas[:-1], SD.k_sigmas()[[801, 601, 401, 201, 1]])
    np.testing.assert_array_equal(uniform(SD, 5, offset=0)[:-1], SD.k_sigmas()[800::-200])


@pytest.mark.parametrize("steps", [4, 7, 30, 600, 999])
def test_uniform_starts_within_a_stride_of_pure_noise(steps):
    """Also where steps do not divide 1000: a stride rounded down starts 600 steps at time 600."""
    first = uniform(SD, steps)[0]
    assert first >= SD.k_sigmas()[999 - int(np.ceil(1000 / steps))]


@pytest.mark.parametrize(("steps", "time"), [(1, 1), (2, 501), (3, 667)])
def test_a_uniform_grid_that_starts_far_below_pure_noise_is_refused(steps, time):
    with pytest.raises(InputError, match=f"starts at time {time} of 1000.*use the trailing grid"):
        uniform(SD, steps)


def test_uniform_never_starts_from_the_pure_noise_of_zero_terminal_snr():
    with pytest.raises(InputError, match="use the trailing grid"):
        uniform(ZeroTerminalSNR(base=SD), 50)


def test_trailing_starts_at_the_last_time():
    np.testing.assert_array_equal(trailing(SD, 5)[:-1], SD.k_sigmas()[[999, 799, 599, 399, 199]])
    np.testing.assert_array_equal(trailing(SD, 3)[:-1], SD.k_sigmas()[[999, 666, 332]])


def test_all_steps_are_the_schedule_itself():
    everything = np.append(SD.k_sigmas()[::-1], 0.0)
    np.testing.assert_array_equal(trailing(SD, 1000), everything)
    np.testing.assert_array_equal(uniform(SD, 1000, offset=0), everything)
    np.testing.assert_allclose(linspace(SD, 1000), everything, rtol=1e-6)


def test_linspace_has_both_ends_and_the_geometric_middle_of_two_times():
    schedule = LinearSchedule(num_steps=10)
    sigmas, table = linspace(schedule, 3), schedule.k_sigmas()  # times 9, 4.5, 0
    np.testing.assert_allclose(sigmas[[0, 2]], table[[9, 0]], rtol=1e-6)
    assert sigmas[1] == pytest.approx(np.sqrt(table[4] * table[5]), rel=1e-6)


def test_karras_ends_and_spacing():
    sigmas = karras(SD, 10)
    np.testing.assert_allclose(sigmas[[0, -2]], SD.k_sigmas()[[-1, 0]], rtol=1e-6)
    gaps = np.diff(sigmas[:-1].astype(np.float64) ** (1 / 7))
    np.testing.assert_allclose(gaps, gaps[0], rtol=1e-5)
    np.testing.assert_allclose(
        karras(SD, 5, rho=1.0, sigma_min=2.0, sigma_max=10.0), [10, 8, 6, 4, 2, 0], rtol=1e-6
    )


@pytest.mark.parametrize("steps", [0, 1001])
@pytest.mark.parametrize("grid", GRIDS)
def test_impossible_numbers_of_steps_are_refused(grid, steps):
    with pytest.raises(InputError, match=rf"steps={steps} must be in \[1, 1000\]"):
        GRIDS[grid](SD, steps)


def test_a_uniform_grid_beyond_the_schedule_is_refused():
    with pytest.raises(InputError, match="reaches time 1000.*offset 0 or the trailing"):
        uniform(SD, 1000)


@pytest.mark.parametrize("wrong", [{"rho": 0.0}, {"sigma_min": 20.0}, {"sigma_min": 0.0}])
def test_an_impossible_karras_range_is_refused(wrong):
    with pytest.raises(InputError, match="karras grid"):
        karras(SD, 5, **wrong)
