"""Noise schedules: how much signal is left at each discrete step.

    z_time = alpha z0 + sigma eps,   alpha^2 = alphas_bar[time],   alpha^2 + sigma^2 = 1
    alphas_bar[i] = prod_{j <= i} (1 - beta_j),   time = 0 nearly clean, num_steps - 1 nearly noise

A schedule is a few numbers; its tables are computed in float64 NumPy when asked for and handed out
in float32, each from float64 (1 - alphas_bar taken in float32 would lose four digits at step 0).
The samplers' coordinate is the noise-to-signal ratio `k_sigmas() = sigma / alpha` of x = z / alpha.

Not here: gathering at a batch's times (`process.py`), sampling grids (`sampling/grids.py`).
"""

import abc
import dataclasses

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.typing import Float

CAPPED_ALPHAS_BAR = 2.0**-24


class Schedule(abc.ABC):
    """Variance-preserving schedule over `num_steps` discrete times.

    Subclasses are frozen dataclasses of plain numbers and define `_alphas_bar` in float64.
    """

    num_steps: int

    @abc.abstractmethod
    def _alphas_bar(self) -> np.ndarray:
        """Return (num_steps) float64, strictly decreasing, in [0, 1)."""

    def alphas_bar(self) -> Float[np.ndarray, " num_steps"]:
        """Return alpha^2, the share of the signal in the variance, by time, float32."""
        return self._alphas_bar().astype(np.float32)

    def alphas(self) -> Float[np.ndarray, " num_steps"]:
        """Return alpha by time, float32."""
        return np.sqrt(self._alphas_bar()).astype(np.float32)

    def sigmas(self) -> Float[np.ndarray, " num_steps"]:
        """Return the variance-preserving sigma = sqrt(1 - alpha^2) by time, float32."""
        return np.sqrt(1.0 - self._alphas_bar()).astype(np.float32)

    def k_sigmas(self) -> Float[np.ndarray, " num_steps"]:
        """Return sigma / alpha by time, float32, strictly increasing and finite.

        A last alpha of zero is replaced by 2^-12 (alphas_bar 2^-24, sigma 4096; diffusers' value),
        or by half the alpha before it where that is smaller, so that no two times share a sigma.
        """
        alphas_bar = self._alphas_bar()
        if alphas_bar[-1] == 0.0:
            alphas_bar[-1] = min(CAPPED_ALPHAS_BAR, alphas_bar[-2] / 4.0)
        return np.sqrt((1.0 - alphas_bar) / alphas_bar).astype(np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearSchedule(Schedule):
    """beta linear in time. Source: DDPM, arXiv:2006.11239, Sec. 4."""

    beta_start: float = 1e-4
    beta_end: float = 0.02
    num_steps: int = 1000

    def __post_init__(self) -> None:
        _check_betas(self.beta_start, self.beta_end, self.num_steps)

    def _alphas_bar(self) -> np.ndarray:
        return np.cumprod(1.0 - np.linspace(self.beta_start, self.beta_end, self.num_steps))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScaledLinearSchedule(Schedule):
    """sqrt(beta) linear in time: what latent diffusion's code calls "linear".

    The defaults are Stable Diffusion's. Latent diffusion's unconditional models use 0.0015, 0.0195.
    Source: latent-diffusion, `make_beta_schedule`.
    """

    beta_start: float = 0.00085
    beta_end: float = 0.012
    num_steps: int = 1000

    def __post_init__(self) -> None:
        _check_betas(self.beta_start, self.beta_end, self.num_steps)

    def _alphas_bar(self) -> np.ndarray:
        roots = np.linspace(self.beta_start**0.5, self.beta_end**0.5, self.num_steps)
        return np.cumprod(1.0 - roots**2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CosineSchedule(Schedule):
    """alphas_bar a squared cosine, beta clipped. Source: arXiv:2102.09672, Eq. 17."""

    offset: float = 0.008
    max_beta: float = 0.999
    num_steps: int = 1000

    def __post_init__(self) -> None:
        if self.num_steps < 2 or self.offset < 0.0 or not 0.0 < self.max_beta < 1.0:
            raise InputError(f"{self}: needs num_steps >= 2, offset >= 0 and max_beta in (0, 1)")

    def _alphas_bar(self) -> np.ndarray:
        time = np.arange(self.num_steps + 1) / self.num_steps
        signal = np.cos((time + self.offset) / (1.0 + self.offset) * np.pi / 2.0) ** 2
        betas = np.minimum(1.0 - signal[1:] / signal[:-1], self.max_beta)
        return np.cumprod(1.0 - betas)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ZeroTerminalSNR(Schedule):
    """`base` with its alpha shifted and scaled: the same at time 0, exactly zero at the last time.

    Without it a model never sees pure noise in training and learns the mean brightness from what
    leaks through. Needs a v or x0 target: at zero signal, epsilon says nothing about the data.

    Source: arXiv:2305.08891, Algorithm 1.
    """

    base: Schedule

    @property
    def num_steps(self) -> int:
        """The base's number of discrete times."""
        return self.base.num_steps

    def _alphas_bar(self) -> np.ndarray:
        alphas = np.sqrt(self.base._alphas_bar())
        first, last = alphas[0], alphas[-1]
        return ((alphas - last) * (first / (first - last))) ** 2


def _check_betas(beta_start: float, beta_end: float, num_steps: int) -> None:
    if num_steps < 2:
        raise InputError(f"schedule: {num_steps=} must be at least 2")
    if not 0.0 < beta_start <= beta_end < 1.0:
        raise InputError(
            f"schedule: needs 0 < beta_start <= beta_end < 1, got {beta_start=} {beta_end=}"
        )
