"""Euler's method on the probability-flow equation dx/dsigma = (x - x0) / sigma. First order."""

import dataclasses

from vldm_jax.sampling.solvers.base import Denoise, Memory, Row, Solver
from vldm_jax.typing import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Euler(Solver):
    """One evaluation a step; the same map as DDIM with eta = 0.

    Source: EDM, arXiv:2206.00364, Algorithm 1 without lines 6-8 and without churn.
    """

    def step(
        self, denoise: Denoise, x: Array, row: Row, memory: Memory
    ) -> tuple[Array, Array, Memory]:
        """Go straight towards the predicted x0."""
        x0 = denoise(x, row.sigma)
        slope = (x - x0) / row.sigma
        return x + (row.sigma_next - row.sigma) * slope, x0, memory
