"""The sampling loop: one `lax.scan` over a table made before it.

The table has a row a step: sigma, sigma_next, a key, the solver's coefficients. Nothing in the loop
depends on Python, so a whole sampling run is one compiled program under the caller's `jax.jit` (the
grid and solver are constants of it), whatever the shape behind the batch axis: latents of images or
of videos, pixels.

    denoise = make_denoiser(guided(network, cond, Away(null, 7.5)), schedule, "epsilon")
    z0 = sample(denoise, DDIM(), uniform(schedule, 50), sample_noise(key, shape), key)

Not here: what denoises (`diffusion/denoiser.py`), where to stop (`grids.py`), decoding.
"""

import jax
import jax.numpy as jnp
import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.sampling.solvers.base import Denoise, Row, Solver
from vldm_jax.typing import Array, Float, Key


def sample(
    denoise: Denoise,
    solver: Solver,
    sigmas: Float[np.ndarray, " stops"],
    noise: Float[Array, " b *rest"],
    key: Key,
) -> Float[Array, " b *rest"]:
    """Return samples at the grid's last sigma (x0 for a grid that ends in 0), float32.

    Args:
        denoise: denoise(x, sigma) -> x0, see `diffusion.denoiser.make_denoiser`.
        solver: the stepping rule.
        sigmas: (s + 1) concrete, decreasing, from `grids`.
        noise: (b ...) unit normal: the variance-preserving z at pure noise, as DDIM starts.
        key: for solvers that add noise: one, or (b) one a sample (`noise.sample_keys`); independent
            of what `noise` was drawn from.

    Raises:
        InputError: if the grid does not decrease from a positive value to 0 or more.
    """
    return trajectory(denoise, solver, sigmas, start(noise, sigmas), key)[0]


def start(
    noise: Float[Array, " b *rest"], sigmas: Float[np.ndarray, " stops"]
) -> Float[Array, " b *rest"]:
    """Return x at the first sigma of a grid for unit normal noise: sqrt(1 + sigma^2) noise."""
    return noise.astype(jnp.float32) * float(np.sqrt(1.0 + np.float64(sigmas[0]) ** 2))


def trajectory(
    denoise: Denoise,
    solver: Solver,
    sigmas: Float[np.ndarray, " stops"],
    x: Float[Array, " b *rest"],
    key: Key,
) -> tuple[Float[Array, " b *rest"], Float[Array, " s b *rest"]]:
    """Return x at the grid's last sigma, and the x0 predicted in each step.

    Under `jit` predictions that the caller drops are never stored.

    Args:
        denoise: denoise(x, sigma) -> x0.
        solver: the stepping rule.
        sigmas: (s + 1) concrete, decreasing; may start anywhere, to continue from a noised x.
        x: (b ...) = x0 + sigmas[0] n, see `start`.
        key: for solvers that add noise: one, or (b) one a sample.

    Raises:
        InputError: if the grid does not decrease from a positive value to 0 or more.
    """
    table = make_table(solver, sigmas, key)
    x = x.astype(jnp.float32)

    def body(carry, row: Row):
        x, memory = carry
        x, x0, memory = solver.step(denoise, x, row, memory)
        return (x, memory), x0

    (x, _), x0s = jax.lax.scan(body, (x, solver.start(x)), table)
    return x, x0s


def make_table(solver: Solver, sigmas: Float[np.ndarray, " stops"], key: Key) -> Row:
    """Return the rows of all steps stacked on a leading axis s: float32 scalars, and key(s) each.

    Raises:
        InputError: if the grid does not decrease from a positive value to 0 or more.
    """
    if len(sigmas) < 2 or np.any(np.diff(sigmas) >= 0.0) or sigmas[-1] < 0.0:
        raise InputError(f"sampling grid must decrease to 0 or more, got {np.asarray(sigmas)}")
    exact = sigmas.astype(np.float64)
    coefficients = solver.coefficients(exact)
    return Row(
        sigma=jnp.asarray(exact[:-1], jnp.float32),
        sigma_next=jnp.asarray(exact[1:], jnp.float32),
        key=_split(key, len(sigmas) - 1),
        coefficients={name: jnp.asarray(c, jnp.float32) for name, c in coefficients.items()},
    )


def _split(key: Key, steps: int) -> Key:
    if key.ndim == 0:
        return jax.random.split(key, steps)
    return jax.vmap(lambda k: jax.random.split(k, steps), out_axes=1)(key)
