"""What a pipeline's scheduler says of the noise that its U-Net was trained on.

Weights don't tell epsilon from v, and the wrong one samples mush. A pipeline's folder tells it, so
an import records it the way configs and our weights files do, and a config that means another
diffusion is refused.
"""

from pathlib import Path
from typing import Any

from vldm_jax.interop.settings import read_config

FILE = Path("scheduler") / "scheduler_config.json"
_TARGETS = {"epsilon": "epsilon", "v_prediction": "v", "sample": "x0"}
_SCHEDULES = ("linear", "scaled_linear")


def diffusion_of(pipeline: Path) -> dict[str, Any] | None:
    """Return the `diffusion` section of a config that a pipeline's U-Net was trained with.

    Args:
        pipeline: folder with scheduler/scheduler_config.json.

    Returns:
        Schedule and target, or None where there is no such file or it describes no noise of a
        discrete schedule (Stable Video Diffusion's is continuous in sigma).

    Raises:
        InputError: if the file is no JSON object.
    """
    path = pipeline / FILE
    if not path.is_file():
        return None
    given = read_config(path)
    schedule, target = given.get("beta_schedule"), given.get("prediction_type", "epsilon")
    continuous = given.get("timestep_type") == "continuous"
    if schedule not in _SCHEDULES or target not in _TARGETS or continuous:
        return None
    return {
        "schedule": {
            "kind": schedule,
            "beta_start": given.get("beta_start", 0.0001),
            "beta_end": given.get("beta_end", 0.02),
            "num_steps": given.get("num_train_timesteps", 1000),
        },
        "zero_terminal_snr": bool(given.get("rescale_betas_zero_snr", False)),
        "target": _TARGETS[target],
    }
