"""What a solver is: one step from sigma to sigma_next over `denoise(x, sigma)`.

A solver is a frozen dataclass with two methods beside `step`, both optional:

    coefficients(sigmas) -> {name: (s)}   whatever depends on the grid alone, in float64 NumPy,
                                          before the loop; a step finds its own in its row
    start(x) -> memory                    what a step hands to the next (multistep methods), or ()

Coordinates: x = x0 + sigma n (see `diffusion/denoiser.py`), so a step never sees a schedule.
"""

import abc
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from vldm_jax.diffusion.denoiser import Denoise
from vldm_jax.typing import Array, Float, Key

Memory: TypeAlias = Any

__all__ = ["Denoise", "Memory", "Row", "Solver"]


class Row(NamedTuple):
    """One step's row of the table that the loop scans over; every array but the key a scalar.

    Attributes:
        sigma: the noise level of x now, positive.
        sigma_next: the noise level to reach, smaller, 0 at the end of a full grid.
        key: random key of this step alone, () or (b) one a sample; for `sample_noise`.
        coefficients: the solver's own numbers, by name.
    """

    sigma: Array
    sigma_next: Array
    key: Key
    coefficients: Mapping[str, Array]


class Solver(abc.ABC):
    """Base of all solvers; subclasses are final frozen dataclasses of plain numbers."""

    def coefficients(self, sigmas: Float[np.ndarray, " stops"]) -> dict[str, np.ndarray]:
        """Return arrays (s), one entry a step, from the float64 grid (s + 1)."""
        return {}

    def start(self, x: Float[Array, "b ..."]) -> Memory:
        """Return what the first step finds in place of its predecessor's memory."""
        return ()

    @abc.abstractmethod
    def step(
        self, denoise: Denoise, x: Array, row: Row, memory: Memory
    ) -> tuple[Array, Array, Memory]:
        """Return x at `row.sigma_next`, the x0 predicted at `row.sigma`, and the memory."""
