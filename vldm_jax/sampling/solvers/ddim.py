"""DDIM, deterministic to ancestral, in the terms of its paper.

With a = alphas_bar now, a' = alphas_bar next, and z = sqrt(a) x (variance-preserving):

    s  = eta sqrt((1 - a') / (1 - a)) sqrt(1 - a / a')                               (1)
    z' = sqrt(a') x0 + sqrt(1 - a' - s^2) eps + s n                                  (2)

The coefficients are taken from (1) and (2) in float64 and divided by sqrt(a') into the loop's
coordinates. eta = 0 is Euler's step, eta = 1 is DDPM's posterior and equals `Ancestral`.

Source: arXiv:2010.02502, Eq. 12 and 16; Align your Latents uses DDIM throughout.
"""

import dataclasses

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.sampling.noise import sample_noise
from vldm_jax.sampling.solvers.base import Denoise, Memory, Row, Solver
from vldm_jax.typing import Array, Float


@dataclasses.dataclass(frozen=True, kw_only=True)
class DDIM(Solver):
    """One evaluation a step.

    Attributes:
        eta: in [0, 1]; 0 is deterministic, 1 adds as much noise as DDPM.
    """

    eta: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.eta <= 1.0:
            raise InputError(f"DDIM: eta={self.eta} must be in [0, 1]")

    def coefficients(self, sigmas: Float[np.ndarray, " stops"]) -> dict[str, np.ndarray]:
        """Return the weights of the noise direction and of fresh noise."""
        alphas_bar = 1.0 / (1.0 + sigmas**2)
        now, after = alphas_bar[:-1], alphas_bar[1:]
        fresh = self.eta * np.sqrt((1.0 - after) / (1.0 - now)) * np.sqrt(1.0 - now / after)
        kept = np.sqrt(np.maximum(1.0 - after - fresh**2, 0.0))
        return {"eps": kept / np.sqrt(after), "fresh": fresh / np.sqrt(after)}

    def step(
        self, denoise: Denoise, x: Array, row: Row, memory: Memory
    ) -> tuple[Array, Array, Memory]:
        """Rebuild x at sigma_next from x0, its noise direction and fresh noise, Eq. 2."""
        x0 = denoise(x, row.sigma)
        eps = (x - x0) / row.sigma
        x = x0 + row.coefficients["eps"] * eps
        if self.eta > 0.0:
            x = x + row.coefficients["fresh"] * sample_noise(row.key, x.shape)
        return x, x0, memory
