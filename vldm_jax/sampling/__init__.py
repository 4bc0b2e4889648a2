"""Noise to samples: the parts that a sampler is made of, and the sampler.

Sampler                                     network, decoder, schedule, solver, grid, guidance
DDIM Euler Heun DPMpp2M Ancestral           solvers, one a file in `solvers/`
uniform trailing linspace karras            grids of noise levels
Upsampler Bicubic                           frames of videos of any length, four times as large
InBetween average                           baselines of interpolation
sample                                      the loop, over any denoise(x, sigma)
"""

from vldm_jax.sampling.bicubic import Bicubic
from vldm_jax.sampling.grids import karras, linspace, trailing, uniform
from vldm_jax.sampling.inbetween import InBetween, average
from vldm_jax.sampling.loop import sample
from vldm_jax.sampling.sampler import Sampler
from vldm_jax.sampling.solvers.ancestral import Ancestral
from vldm_jax.sampling.solvers.ddim import DDIM
from vldm_jax.sampling.solvers.dpmpp_2m import DPMpp2M
from vldm_jax.sampling.solvers.euler import Euler
from vldm_jax.sampling.solvers.heun import Heun
from vldm_jax.sampling.upsampler import Upsampler

__all__ = [
    "DDIM",
    "Ancestral",
    "Bicubic",
    "DPMpp2M",
    "Euler",
    "Heun",
    "InBetween",
    "Sampler",
    "Upsampler",
    "average",
    "karras",
    "linspace",
    "sample",
    "trailing",
    "uniform",
]
