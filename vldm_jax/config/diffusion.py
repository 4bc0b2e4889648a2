"""config.diffusion and config.sampling -> noise schedule, solver, grid of sigmas."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from vldm_jax.config.table import check_keys, from_table
from vldm_jax.core.errors import InputError
from vldm_jax.diffusion.losses import Diffusion
from vldm_jax.diffusion.schedules import (
    CosineSchedule,
    LinearSchedule,
    ScaledLinearSchedule,
    Schedule,
    ZeroTerminalSNR,
)
from vldm_jax.diffusion.targets import find_target
from vldm_jax.sampling import grids
from vldm_jax.sampling.solvers.ancestral import Ancestral
from vldm_jax.sampling.solvers.base import Solver
from vldm_jax.sampling.solvers.ddim import DDIM
from vldm_jax.sampling.solvers.dpmpp_2m import DPMpp2M
from vldm_jax.sampling.solvers.euler import Euler
from vldm_jax.sampling.solvers.heun import Heun
from vldm_jax.typing import Float

SCHEDULES = {
    "linear": LinearSchedule,
    "scaled_linear": ScaledLinearSchedule,
    "cosine": CosineSchedule,
}
SOLVERS = {
    "ddim": DDIM,
    "euler": Euler,
    "heun": Heun,
    "dpmpp_2m": DPMpp2M,
    "ancestral": Ancestral,
}
GRIDS = {
    "uniform": grids.uniform,
    "trailing": grids.trailing,
    "linspace": grids.linspace,
    "karras": grids.karras,
}
# What a diffusion that leaves it out means: public checkpoints tell no weighting of a loss.
OPTIONAL = {"zero_terminal_snr": False, "min_snr_gamma": None}
NEEDED = ("schedule", "target")


def build_schedule(diffusion: ConfigDict) -> Schedule:
    """Return the noise schedule of `config.diffusion`."""
    schedule = from_table(SCHEDULES, diffusion.schedule, "diffusion.schedule")
    return ZeroTerminalSNR(base=schedule) if diffusion.zero_terminal_snr else schedule


def build_diffusion(given: Mapping[str, Any] | ConfigDict) -> Diffusion:
    """Return schedule, target and weighting of `config.diffusion`, or of what a file says of it.

    Raises:
        InputError: if it lacks schedule or target, one is unknown, or there is an unknown key.
    """
    check_keys(given, (*NEEDED, *OPTIONAL), "diffusion")
    if missing := [name for name in NEEDED if name not in given]:
        raise InputError(f"config.diffusion lacks {missing[0]!r}")
    diffusion = ConfigDict({**OPTIONAL, **given})
    find_target(diffusion.target)
    return Diffusion(
        schedule=build_schedule(diffusion),
        target=diffusion.target,
        min_snr_gamma=diffusion.min_snr_gamma,
    )


def build_solver(sampling: ConfigDict) -> Solver:
    """Return the solver of `config.sampling`."""
    return from_table(SOLVERS, sampling.solver, "sampling.solver")


def build_grid(sampling: ConfigDict, schedule: Schedule) -> Float[np.ndarray, " stops"]:
    """Return the sigmas at which the solver stops."""
    return from_table(
        GRIDS, sampling.grid, "sampling.grid", schedule=schedule, steps=sampling.steps
    )
