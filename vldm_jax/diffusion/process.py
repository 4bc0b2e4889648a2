"""The forward process: noise levels at a batch's times, and noising.

    z_time = alpha z0 + sigma eps                                                    (1)

Integer times gather from the schedule's tables. Fractional times interpolate log(sigma / alpha),
the coordinate in which schedules are smoothest, and `sigma_to_time` inverts exactly that.

Source: Align your Latents, arXiv:2304.08818, Sec. 2; interpolation as in k-diffusion.
"""

import jax
import jax.numpy as jnp
import numpy as np

from vldm_jax.core.shapes import expand_like
from vldm_jax.diffusion.schedules import Schedule
from vldm_jax.typing import Array, Float, Int, Key

Time = Int[Array, "*b"] | Float[Array, "*b"]


def uniform_time(key: Key, batch_size: int, schedule: Schedule) -> Int[Array, " b"]:
    """Draw one discrete time a sample (for video: a clip), uniform over 0 ... num_steps - 1."""
    return jax.random.randint(key, (batch_size,), 0, schedule.num_steps)


def alpha_sigma(schedule: Schedule, time: Time) -> tuple[Float[Array, "*b"], Float[Array, "*b"]]:
    """Return the variance-preserving (alpha, sigma) at `time`, float32.

    Args:
        schedule: the noise schedule.
        time: (b) or (); integers in [0, num_steps) are exact; floats are interpolated, clipped to
            that range, and never reach an alpha of exactly zero (see `Schedule.k_sigmas`).
    """
    if jnp.issubdtype(time.dtype, jnp.integer):
        return jnp.asarray(schedule.alphas())[time], jnp.asarray(schedule.sigmas())[time]
    return from_k_sigma(time_to_sigma(schedule, time))


def from_k_sigma(
    k_sigma: Float[Array, "*b"],
) -> tuple[Float[Array, "*b"], Float[Array, "*b"]]:
    """Return the variance-preserving (alpha, sigma) whose ratio sigma / alpha is `k_sigma`."""
    alpha = jax.lax.rsqrt(1.0 + k_sigma**2)
    return alpha, k_sigma * alpha


def time_to_sigma(schedule: Schedule, time: Time) -> Float[Array, "*b"]:
    """Return the noise-to-signal ratio sigma / alpha at `time` in [0, num_steps - 1], clipped."""
    steps = jnp.arange(schedule.num_steps, dtype=jnp.float32)
    return jnp.exp(jnp.interp(time.astype(jnp.float32), steps, _log_k_sigmas(schedule)))


def sigma_to_time(schedule: Schedule, k_sigma: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """Return the time whose noise-to-signal ratio is `k_sigma`; clipped to the schedule's range.

    Rounding error is removed: a result within 0.001 of an integer is that integer, so that a grid
    of discrete steps reaches the network as the very times that it was trained on.
    """
    edges = _log_k_sigmas(schedule)
    smallest, largest = jnp.exp(edges[0]), jnp.exp(edges[-1])
    level = jnp.log(jnp.clip(k_sigma, smallest, largest))
    # Each interval adds the share of it that lies below. A search for the one interval would be a
    # loop within the sampling loop, which XLA does not compile for GPUs (openxla/xla#49299).
    below, width = (x.reshape(-1, *(1,) * level.ndim) for x in (edges[:-1], jnp.diff(edges)))
    time = jnp.sum(jnp.clip((level[None] - below) / width, 0.0, 1.0), axis=0)
    nearest = jnp.round(time)
    return jnp.where(jnp.abs(time - nearest) < 1e-3, nearest, time)


def add_noise(
    z0: Float[Array, " b *rest"],
    eps: Float[Array, " b *rest"],
    alpha: Float[Array, "*b"],
    sigma: Float[Array, "*b"],
) -> Float[Array, " b *rest"]:
    """Return alpha z0 + sigma eps in float32, Eq. 1.

    Args:
        z0: (b ...) clean latents.
        eps: (b ...) unit normal noise.
        alpha: (b) or (), signal scale.
        sigma: (b) or (), noise scale.
    """
    z0, eps = z0.astype(jnp.float32), eps.astype(jnp.float32)
    return expand_like(alpha, z0) * z0 + expand_like(sigma, z0) * eps


def noised(
    z: Float[Array, " b *rest"], eps: Float[Array, " b *rest"], time: Time, schedule: Schedule
) -> Float[Array, " b *rest"]:
    """Return clean frames that are given to a network, with noise of these times; at 0 as they are.

    Time 0 of a schedule has a little noise on it; here it means none.

    Args:
        z: (b ...) clean latents or pixels.
        eps: (b ...) unit normal noise.
        time: (b) or (), discrete.
        schedule: noise schedule.
    """
    noisy = add_noise(z, eps, *alpha_sigma(schedule, time))
    return jnp.where(expand_like(time > 0, z), noisy, z)


def _log_k_sigmas(schedule: Schedule) -> Array:
    return jnp.asarray(np.log(schedule.k_sigmas()))
