"""What a pipeline's scheduler says of the noise that its U-Net was trained on.

Weights don't tell epsilon from v, and the wrong one samples mush. A pipeline's folder tells it, so
an import records it the way configs and our weights files do, and a config that means another
diffusion is refused.
"""

from pathlib import Path
from typing import Any

from vldm_jax.core.errors import InputError
from vldm_jax.interop.settings import read_config

FILE = Path("scheduler") / "scheduler_config.json"
_TARGETS = {"epsilon": "epsilon", "v_prediction": "v", "sample": "x0"}
_SCHEDULES = ("linear", "scaled_linear")
# What these classes mean by an entry that is absent; others have other defaults.
_CLASSES = ("DDPMScheduler", "DDIMScheduler", "PNDMScheduler", "EulerDiscreteScheduler")
_DEFAULTS = {"beta_schedule": "linear", "beta_start": 0.0001, "beta_end": 0.02}
_TYPES = {
    "prediction_type": str,
    "beta_schedule": str,
    "beta_start": float,
    "beta_end": float,
    "num_train_timesteps": int,
    "rescale_betas_zero_snr": bool,
}


def diffusion_of(pipeline: Path) -> dict[str, Any] | None:
    """Return the `diffusion` section of a config that a pipeline's U-Net was trained with.

    Args:
        pipeline: folder with scheduler/scheduler_config.json.

    Returns:
        Schedule and target, or None where there is no such file or it describes no noise that we
        can name: continuous in sigma (Stable Video Diffusion), betas one by one, an unknown
        schedule, or a class whose defaults are not known and that leaves them out.

    Raises:
        InputError: if the file is no JSON object, or an entry that counts is of another type.
    """
    path = pipeline / FILE
    if not path.is_file():
        return None
    given = read_config(path)
    for name, kind in _TYPES.items():
        if name in given and not _is(given[name], kind):
            raise InputError(f"{path}: {name} = {given[name]!r} is no {kind.__name__}: correct it")
    if given.get("_class_name") in _CLASSES:
        given = _DEFAULTS | given
    target = given.get("prediction_type", "epsilon")
    other = given.get("timestep_type") == "continuous" or given.get("trained_betas") is not None
    if other or given.get("beta_schedule") not in _SCHEDULES or target not in _TARGETS:
        return None
    if not _DEFAULTS.keys() <= given.keys():
        return None
    return {
        "schedule": {
            "kind": given["beta_schedule"],
            "beta_start": given["beta_start"],
            "beta_end": given["beta_end"],
            "num_steps": given.get("num_train_timesteps", 1000),
        },
        "zero_terminal_snr": bool(given.get("rescale_betas_zero_snr", False)),
        "target": _TARGETS[target],
    }


def _is(value: Any, kind: type) -> bool:
    """Return whether a JSON value is of this type; a whole number is a float, too."""
    return type(value) in ((int, float) if kind is float else (kind,))
