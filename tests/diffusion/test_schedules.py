import dataclasses
import math

import numpy as np
import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.diffusion.schedules import (
    CosineSchedule,
    LinearSchedule,
    ScaledLinearSchedule,
    ZeroTerminalSNR,
)

SCHEDULES = {
    "linear": LinearSchedule(),
    "stable_diffusion": ScaledLinearSchedule(),
    "driving": ScaledLinearSchedule(beta_start=0.0015, beta_end=0.0195),
    "cosine": CosineSchedule(),
    "short": LinearSchedule(num_steps=50, beta_end=0.2),
    "zero_terminal_stable_diffusion": ZeroTerminalSNR(base=ScaledLinearSchedule()),
    "zero_terminal_linear": ZeroTerminalSNR(base=LinearSchedule()),
    "zero_terminal_cosine": ZeroTerminalSNR(base=CosineSchedule()),
}


@pytest.fixture(params=SCHEDULES)
def schedule(request):
    return SCHEDULES[request.param]


def test_variance_is_preserved(schedule):
    alphas, sigmas = schedule.alphas().astype(np.float64), schedule.sigmas().astype(np.float64)
    np.testing.assert_allclose(alphas**2 + sigmas**2, 1.0, atol=2e-7)
    np.testing.assert_allclose(alphas**2, schedule.alphas_bar(), rtol=3e-7)


def test_signal_falls_and_noise_rises_all_the_way(schedule):
    assert np.all(np.diff(schedule.alphas_bar()) < 0)
    assert np.all(np.diff(schedule.k_sigmas()) > 0)
    assert 0.0 <= schedule.alphas_bar()[-1] < schedule.alphas_bar()[0] < 1.0


def test_tables_are_finite_float32_of_num_steps(schedule):
    for table in (schedule.alphas_bar, schedule.alphas, schedule.sigmas, schedule.k_sigmas):
        assert table().dtype == np.float32
        assert table().shape == (schedule.num_steps,)
        assert np.all(np.isfinite(table()))


def test_k_sigma_is_noise_over_signal(schedule):
    alphas, sigmas = schedule.alphas(), schedule.sigmas()
    signal = alphas > 0
    np.testing.assert_allclose(schedule.k_sigmas()[signal], sigmas[signal] / alphas[signal], 1e-6)


def test_a_schedule_is_a_value(schedule):
    """Equal fields are one static argument of `jax.jit`, other fields or classes another one."""
    again = dataclasses.replace(schedule)
    assert again is not schedule and again == schedule and hash(again) == hash(schedule)
    assert [other for other in SCHEDULES.values() if other == schedule] == [schedule]


def test_stable_diffusion_ends():
    schedule = ScaledLinearSchedule()
    low, high = math.sqrt(0.00085), math.sqrt(0.012)
    logs = [math.log1p(-((low + (high - low) * i / 999) ** 2)) for i in range(1000)]
    assert schedule.alphas_bar()[0] == pytest.approx(1 - 0.00085, rel=1e-6)
    assert schedule.alphas_bar()[-1] == pytest.approx(math.exp(math.fsum(logs)), rel=1e-6)
    # sigma_min and sigma_max that every k-diffusion front end prints for SD 1.x and 2.x
    assert schedule.k_sigmas()[0] == pytest.approx(0.0292, abs=5e-5)
    assert schedule.k_sigmas()[-1] == pytest.approx(14.6146, abs=5e-5)


def test_first_sigma_keeps_float64s_digits():
    # 1 - float32(alphas_bar) is off by up to 6e-8 of 1e-4.
    assert LinearSchedule().sigmas()[0] == pytest.approx(math.sqrt(1e-4), rel=1e-6)


@pytest.mark.parametrize(
    ("schedule", "power"), [(LinearSchedule(), 1.0), (ScaledLinearSchedule(), 0.5)]
)
def test_beta_is_linear_in_its_power(schedule, power):
    alphas_bar = schedule.alphas_bar().astype(np.float64)
    betas = 1.0 - alphas_bar[1:] / alphas_bar[:-1]
    expected = np.linspace(schedule.beta_start**power, schedule.beta_end**power, 1000)[1:]
    np.testing.assert_allclose(betas**power, expected, atol=3e-6)


def test_cosine_is_a_squared_cosine_until_beta_is_clipped():
    time = np.arange(1, 999) / 1000
    angle = (time + 0.008) / 1.008 * np.pi / 2
    start = np.cos(0.008 / 1.008 * np.pi / 2)
    expected = (np.cos(angle) / start) ** 2
    np.testing.assert_allclose(CosineSchedule().alphas_bar()[:998], expected, rtol=1e-5)
    ends = CosineSchedule().alphas_bar()[-2:].astype(np.float64)
    assert 1 - ends[1] / ends[0] == pytest.approx(0.999, abs=1e-6)


@pytest.mark.parametrize("base", [LinearSchedule(), ScaledLinearSchedule(), CosineSchedule()])
def test_zero_terminal_snr_moves_only_the_end(base):
    schedule = ZeroTerminalSNR(base=base)
    assert schedule.num_steps == base.num_steps
    assert schedule.alphas_bar()[-1] == 0.0
    assert schedule.sigmas()[-1] == 1.0
    assert schedule.alphas_bar()[0] == base.alphas_bar()[0]
    # affine in the base's alpha: three points on a line
    new, old = schedule.alphas().astype(np.float64), base.alphas().astype(np.float64)
    slope = (new[0] - new[-1]) / (old[0] - old[-1])
    np.testing.assert_allclose(new, new[-1] + slope * (old - old[-1]), atol=3e-7)


def test_zero_terminal_k_sigma_is_capped_where_diffusers_caps_it():
    assert ZeroTerminalSNR(base=LinearSchedule(num_steps=100)).k_sigmas()[-1] == pytest.approx(
        4096.0, rel=1e-6
    )


@pytest.mark.parametrize("kind", [LinearSchedule, ScaledLinearSchedule])
@pytest.mark.parametrize(
    "wrong", [{"beta_start": 0.0}, {"beta_end": 1.0}, {"beta_start": 0.5}, {"num_steps": 1}]
)
def test_wrong_betas_are_refused(kind, wrong):
    with pytest.raises(InputError, match="beta_start|num_steps"):
        kind(**wrong)


@pytest.mark.parametrize("wrong", [{"max_beta": 1.0}, {"offset": -0.1}, {"num_steps": 0}])
def test_wrong_cosine_is_refused(wrong):
    with pytest.raises(InputError, match="needs num_steps >= 2"):
        CosineSchedule(**wrong)
