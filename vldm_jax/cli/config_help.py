"""What `--config FILE.py --help` lists: the keys of an experiment, their values, other choices.

Every line can be given to the command as it stands.
"""

import shlex
from collections.abc import Iterator

from ml_collections import ConfigDict

from vldm_jax.checkpoint.weights import DTYPES
from vldm_jax.config.data import SOURCES
from vldm_jax.config.diffusion import GRIDS, SCHEDULES, SOLVERS
from vldm_jax.data.windows import SPLITS
from vldm_jax.diffusion.targets import TARGETS
from vldm_jax.evals.figures import FIGURES
from vldm_jax.models.perceptual import BACKBONES
from vldm_jax.models.table import FAMILIES
from vldm_jax.nn.temporal import MIXES, POSITIONS
from vldm_jax.stages.table import STAGES
from vldm_jax.training import optimiser
from vldm_jax.training.precision import POLICIES

CHOICES = {
    "data.kind": SOURCES,
    "data.split": SPLITS,
    "objective.kind": STAGES,
    "model.perceptual": BACKBONES,
    "model.temporal.family": FAMILIES,
    "model.temporal.mix": MIXES,
    "model.temporal.positions": POSITIONS,
    "diffusion.schedule.kind": SCHEDULES,
    "diffusion.target": TARGETS,
    "optim.name": optimiser.OPTIMISERS,
    "optim.schedule": optimiser.SCHEDULES,
    "train.precision": POLICIES,
    "sampling.solver.kind": SOLVERS,
    "sampling.grid.kind": GRIDS,
    "evals.figures": FIGURES,
    "evals.keep_best": FIGURES,
    "checkpoint.weights_dtype": DTYPES,
}


def config_help(config: ConfigDict, name: str) -> str:
    """Return the list of keys.

    Args:
        config: the experiment.
        name: FILE.py[:VARIANT], for the headline.
    """
    lines = [f"keys of {name} and their values, described in docs/configs.md:"]
    for key, value in _leaves(config):
        line = f"  {shlex.quote(f'--config.{key}={value}')}"
        others = CHOICES.get(key, ())
        lines.append(f"{line:50} # of {', '.join(others)}" if others else line)
    return "\n".join(lines)


def _leaves(section: ConfigDict, path: str = "") -> Iterator[tuple[str, object]]:
    for key, value in section.items():
        if isinstance(value, ConfigDict):
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value
