"""From a network of discrete times to `denoise(x, sigma)`, the one thing that solvers know.

Solvers work in x = z / alpha = x0 + sigma n, where the noise level is a plain standard deviation
(here `sigma` is the ratio sigma / alpha of the variance-preserving process). In these coordinates

    dx / dsigma = (x - denoise(x, sigma)) / sigma                                    (1)

is the probability-flow equation, and DDIM with eta = 0 is its Euler step. The adapter scales x
back to z = x / sqrt(1 + sigma^2), finds the time by interpolation in log sigma, asks the network
and turns its answer, whatever the target, into x0.

Source: EDM, arXiv:2206.00364, Sec. 2 and Table 1; k-diffusion, `external.py`.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax.numpy as jnp

from vldm_jax.core.errors import InputError
from vldm_jax.core.shapes import expand_like
from vldm_jax.diffusion.guidance import Predict
from vldm_jax.diffusion.process import from_k_sigma, sigma_to_time
from vldm_jax.diffusion.schedules import Schedule
from vldm_jax.diffusion.targets import find_target, to_x0_eps
from vldm_jax.typing import Array

Denoise: TypeAlias = Callable[[Array, Array], Array]


def make_denoiser(predict: Predict, schedule: Schedule, target: str) -> Denoise:
    """Return denoise(x, sigma) -> x0 around a network of discrete times.

    Args:
        predict: `predict(z, time)`: z (b ...) variance-preserving, time (b) float32 in
            [0, num_steps - 1], conditions already bound (see `guidance.guided`).
        schedule: the schedule that the network was trained with.
        target: "epsilon", "v" or "x0", what it predicts.

    Returns:
        A function of x (b ...) and sigma, () or (b), to x0 (b ...) in float32. A sigma beyond the
        schedule keeps its value in the scaling but meets the network at the nearest time.

    Raises:
        InputError: if the target is unknown, or epsilon with a schedule of zero terminal SNR.
    """
    find_target(target)
    if target == "epsilon" and schedule.alphas_bar()[-1] == 0.0:
        raise InputError(
            "target 'epsilon' cannot be sampled with a zero-terminal-SNR schedule (pure noise says "
            "nothing of x0): train with target 'v', or use the base schedule"
        )

    def denoise(x: Array, sigma: Array) -> Array:
        sigma = jnp.asarray(sigma, jnp.float32)
        alpha, sigma_vp = from_k_sigma(sigma)
        z = x * expand_like(alpha, x)
        time = jnp.broadcast_to(sigma_to_time(schedule, sigma), x.shape[:1])
        return to_x0_eps(target, predict(z, time), z, alpha, sigma_vp)[0]

    return denoise
