"""What a single file says beside its networks of the diffusion that its U-Net was trained on.

    v_pred, ztsnr                      tensors, mostly empty, whose names are all that they say
    edm_vpred.sigma_max, .sigma_min    v on noise levels that are continuous, between these two
    modelspec.predict_key              metadata: "epsilon" or "v" (ComfyUI)
    modelspec.prediction_type          the same as the specification has it (kohya, SimpleTuner)
    modelspec.architecture             "stable-diffusion-v2-768-v" and the like

Only what is said is returned; what a file does not name, its user must know.
"""

from collections.abc import Mapping
from typing import Any

from vldm_jax.interop.files.tensors import Tensor

_EDM = ("edm_vpred.sigma_min", "edm_vpred.sigma_max")
_TENSORS = ("v_pred", "ztsnr", *_EDM)
_TARGETS = {
    "epsilon": "epsilon",
    "eps": "epsilon",
    "v": "v",
    "v_prediction": "v",
    "v-prediction": "v",
    "velocity": "v",
    "sample": "x0",
    "x0": "x0",
}
_ARCHITECTURES = {"stable-diffusion-v2-512": "epsilon", "stable-diffusion-v2-768-v": "v"}


def without(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of the networks: all but the markers."""
    return {key: tensor for key, tensor in tensors.items() if key not in _TENSORS}


def diffusion_of(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return what is said of the diffusion, as entries of the section `diffusion` of a config.

    Args:
        tensors: of the whole file.
        metadata: text that it carries.

    Returns:
        Entries of "target", "zero_terminal_snr" and "schedule" that are told; no target where two
        are. Continuous noise levels are a schedule of the kind "edm", which no config has.
    """
    told: dict[str, Any] = {}
    if "ztsnr" in tensors:
        told["zero_terminal_snr"] = True
    if edm := [key for key in _EDM if key in tensors]:
        levels = {key.removeprefix("edm_vpred."): _value(tensors[key]) for key in edm}
        told["schedule"] = {"kind": "edm"} | {k: v for k, v in levels.items() if v is not None}
    targets = _targets(metadata) | ({"v"} if edm or "v_pred" in tensors else set())
    return told | ({"target": targets.pop()} if len(targets) == 1 else {})


def _targets(metadata: Mapping[str, str]) -> set[str]:
    def told(key: str, values: Mapping[str, str]) -> set[str]:
        value = values.get(metadata.get(key, "").strip().lower())
        return set() if value is None else {value}

    predicts = ("modelspec.predict_key", "modelspec.prediction_type")
    return set().union(
        *(told(key, _TARGETS) for key in predicts), told("modelspec.architecture", _ARCHITECTURES)
    )


def _value(tensor: Tensor) -> float | None:
    return float(tensor.array().reshape(())) if tensor.size == 1 else None
