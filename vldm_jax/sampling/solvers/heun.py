"""Heun's method (the trapezoidal rule) on the probability-flow equation. Second order."""

import dataclasses

import jax

from vldm_jax.sampling.solvers.base import Denoise, Memory, Row, Solver
from vldm_jax.typing import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Heun(Solver):
    """Two evaluations a step, one where sigma_next = 0 (the slope has no value there).

    Source: EDM, arXiv:2206.00364, Algorithm 1 without churn.
    """

    def step(
        self, denoise: Denoise, x: Array, row: Row, memory: Memory
    ) -> tuple[Array, Array, Memory]:
        """Average the slope here with the slope where Euler's step would land."""
        x0 = denoise(x, row.sigma)
        slope = (x - x0) / row.sigma
        ahead = x + (row.sigma_next - row.sigma) * slope

        def correct(ahead: Array) -> Array:
            slope_ahead = (ahead - denoise(ahead, row.sigma_next)) / row.sigma_next
            return x + (row.sigma_next - row.sigma) * 0.5 * (slope + slope_ahead)

        return jax.lax.cond(row.sigma_next > 0.0, correct, lambda a: a, ahead), x0, memory
