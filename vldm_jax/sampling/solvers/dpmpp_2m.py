"""DPM-Solver++(2M): second order with one evaluation a step, from the x0 of the step before.

In lam = -log sigma the equation is linear but for x0, extrapolated through its last two values:

    h = lam' - lam,   r = h_before / h,   D = x0 + (x0 - x0_before) / (2 r)              (1)
    x' = (sigma' / sigma) x + (1 - exp(-h)) D,   exp(-h) = sigma' / sigma               (2)

The first step has nothing before it, and in a step to sigma = 0 h is infinite: there D = x0.

Source: arXiv:2211.01095, Algorithm 2; k-diffusion, `sample_dpmpp_2m`.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np

from vldm_jax.sampling.solvers.base import Denoise, Memory, Row, Solver
from vldm_jax.typing import Array, Float


@dataclasses.dataclass(frozen=True, kw_only=True)
class DPMpp2M(Solver):
    """One evaluation a step; the memory is the x0 of the step before."""

    def coefficients(self, sigmas: Float[np.ndarray, " stops"]) -> dict[str, np.ndarray]:
        """Return sigma' / sigma and the extrapolation's weight 1 / (2 r), 0 where there is none."""
        ratio = sigmas[1:] / sigmas[:-1]
        weight = np.zeros_like(ratio)
        inner = ratio[1:] > 0.0
        h_before, h = -np.log(ratio[:-1]), -np.log(np.where(inner, ratio[1:], 1.0))
        weight[1:] = np.where(inner, h / (2.0 * h_before), 0.0)
        return {"ratio": ratio, "weight": weight}

    def start(self, x: Float[Array, "b ..."]) -> Memory:
        """Return zeros, which the first step weights by zero."""
        return jnp.zeros_like(x)

    def step(
        self, denoise: Denoise, x: Array, row: Row, memory: Memory
    ) -> tuple[Array, Array, Memory]:
        """Extrapolate x0, then take the exact step of the linear part, Eq. 1 and 2."""
        x0 = denoise(x, row.sigma)
        ratio, weight = row.coefficients["ratio"], row.coefficients["weight"]
        ahead = x0 + weight * (x0 - memory)
        return ratio * x + (1.0 - ratio) * ahead, x0, x0
