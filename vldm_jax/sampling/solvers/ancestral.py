"""Ancestral sampling: Euler below the next noise level, then fresh noise back up to it.

    sigma_up   = eta sigma' sqrt((sigma^2 - sigma'^2) / sigma^2),  at most sigma'     (1)
    sigma_down = sqrt(sigma'^2 - sigma_up^2)                                         (2)

Source: k-diffusion, `get_ancestral_step` and `sample_euler_ancestral`.
"""

import dataclasses

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.sampling.noise import sample_noise
from vldm_jax.sampling.solvers.base import Denoise, Memory, Row, Solver
from vldm_jax.typing import Array, Float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ancestral(Solver):
    """One evaluation and one draw of noise a step ("Euler a").

    Attributes:
        eta: at least 0; 1 is the posterior's noise, more is clipped to all of the next level.
    """

    eta: float = 1.0

    def __post_init__(self) -> None:
        if self.eta < 0.0:
            raise InputError(f"ancestral sampling: eta={self.eta} must not be negative")

    def coefficients(self, sigmas: Float[np.ndarray, " stops"]) -> dict[str, np.ndarray]:
        """Return sigma_down and sigma_up of each step, Eq. 1 and 2."""
        now, after = sigmas[:-1], sigmas[1:]
        up = np.minimum(after, self.eta * after * np.sqrt((now**2 - after**2) / now**2))
        return {"down": np.sqrt(after**2 - up**2), "up": up}

    def step(
        self, denoise: Denoise, x: Array, row: Row, memory: Memory
    ) -> tuple[Array, Array, Memory]:
        """Step down by Euler, up by noise."""
        x0 = denoise(x, row.sigma)
        slope = (x - x0) / row.sigma
        x = x + (row.coefficients["down"] - row.sigma) * slope
        return x + row.coefficients["up"] * sample_noise(row.key, x.shape), x0, memory
