"""Where a sampler stops on its way from noise to data: s + 1 sigmas, decreasing, the last one 0.

    uniform    times offset, offset + T/s, ...                  latent diffusion's convention
    trailing   times T - 1, T - 1 - T/s, ...                           always starts at pure noise
    linspace   s times from T - 1 to 0, fractional                     k-diffusion's default
    karras     sigma^(1/rho) equally spaced                            few steps, most near the data

A grid is concrete NumPy: coefficients are computed from it in float64 before anything is traced.
The final 0 makes the result the last x0.

Deviation: latent diffusion's DDIM ends at the schedule's first sigma (0.03 for Stable Diffusion)
instead; replace the last entry by `schedule.k_sigmas()[0]` to have that.
"""

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.diffusion.schedules import Schedule
from vldm_jax.typing import Float


def uniform(schedule: Schedule, steps: int, *, offset: int = 1) -> Float[np.ndarray, " {steps}+1"]:
    """Return the sigmas of a uniform stride over the discrete times, shifted by `offset`.

    Args:
        schedule: the schedule that the network was trained with.
        steps: number of solver steps.
        offset: first time.

    Raises:
        InputError: if steps is not in [1, num_steps], the last time is beyond the schedule or in
            its first three quarters, where an image is still to be seen (1 to 3 steps), or the
            schedule ends in pure noise, which this grid never starts from.

    Source: arXiv:2010.02502, Sec. 4.2; latent-diffusion, `make_ddim_timesteps`.
    Deviation: there the stride is rounded down, so that 600 steps of 1000 times start at time 600,
    where an image is still to be seen; here each time is, which is the same where steps divide
    num_steps.
    """
    _check_steps(schedule, steps)
    if schedule.alphas_bar()[-1] == 0.0:
        raise InputError(
            "uniform grid: it leaves out the last time, where a schedule of zero terminal SNR has "
            "its pure noise: use the trailing grid"
        )
    times = np.arange(steps) * schedule.num_steps // steps + offset
    if offset < 0 or times[-1] >= schedule.num_steps:
        raise InputError(
            f"uniform grid of {steps} steps with offset {offset} reaches time {times[-1]}, beyond "
            f"[0, {schedule.num_steps - 1}]: use offset 0 or the trailing grid"
        )
    if times[-1] < 3 * schedule.num_steps / 4:
        raise InputError(
            f"uniform grid of {steps} steps starts at time {times[-1]} of {schedule.num_steps}, "
            "far below pure noise: use the trailing grid, or 4 steps and more"
        )
    return _close(schedule.k_sigmas()[times[::-1]])


def trailing(schedule: Schedule, steps: int) -> Float[np.ndarray, " {steps}+1"]:
    """Return the sigmas of a uniform stride counted back from the last time, which is included.

    The grid for zero terminal SNR.

    Raises:
        InputError: if steps is not in [1, num_steps].

    Source: arXiv:2305.08891, Table 2.
    """
    _check_steps(schedule, steps)
    times = np.round(np.arange(steps, 0, -1) * (schedule.num_steps / steps)).astype(int) - 1
    return _close(schedule.k_sigmas()[times])


def linspace(schedule: Schedule, steps: int) -> Float[np.ndarray, " {steps}+1"]:
    """Return the sigmas of `steps` times equally spaced from the last to 0, both included.

    Fractional times are interpolated in log sigma.

    Raises:
        InputError: if steps is not in [1, num_steps].
    """
    _check_steps(schedule, steps)
    times = np.linspace(schedule.num_steps - 1, 0, steps)
    log_sigmas = np.log(schedule.k_sigmas().astype(np.float64))
    return _close(np.exp(np.interp(times, np.arange(schedule.num_steps), log_sigmas)))


def karras(
    schedule: Schedule,
    steps: int,
    *,
    rho: float = 7.0,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
) -> Float[np.ndarray, " {steps}+1"]:
    """Return sigmas whose 1/rho-th powers are equally spaced from sigma_max to sigma_min, then 0.

    Args:
        schedule: gives the range where it is not given.
        steps: number of solver steps.
        rho: 1 is uniform in sigma, larger puts more steps near the data.
        sigma_min: the last sigma before 0; None is the schedule's first.
        sigma_max: the first sigma; None is the schedule's last.

    Raises:
        InputError: if steps is not in [1, num_steps], or not 0 < sigma_min < sigma_max and rho > 0.

    Source: EDM, arXiv:2206.00364, Eq. 5.
    """
    _check_steps(schedule, steps)
    sigmas = schedule.k_sigmas()
    low = float(sigmas[0]) if sigma_min is None else sigma_min
    high = float(sigmas[-1]) if sigma_max is None else sigma_max
    if not 0.0 < low < high or rho <= 0.0:
        raise InputError(f"karras grid: needs 0 < {low=} < {high=} and {rho=} > 0")
    ramp = np.linspace(high ** (1.0 / rho), low ** (1.0 / rho), steps)
    return _close(ramp**rho)


def _check_steps(schedule: Schedule, steps: int) -> None:
    if not 1 <= steps <= schedule.num_steps:
        raise InputError(f"sampling: {steps=} must be in [1, {schedule.num_steps}]")


def _close(sigmas: np.ndarray) -> np.ndarray:
    return np.append(sigmas, 0.0).astype(np.float32)
