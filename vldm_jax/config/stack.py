"""What a config of the generation stack consists of: parts, each a trained model, and their order.

    config = stack_config()
    config.parts.first = part("image", "image.py", "runs/image/weights.safetensors")
    config.parts.keyframes = part("prediction", "prediction.py", "runs/prediction/...")

A part's config is named relative to the file of the stack's, or absolute. Where its weights are the
workdir of a run, the run's own config is taken in its place, which knows what it was trained on.
"""

from collections.abc import Sequence

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def stack_config() -> ConfigDict:
    """Return a stack without parts."""
    config = ConfigDict()
    config.seed = 0
    config.seconds = 6.0
    config.labels = ""  # "night=1,cars=4"; "" for any
    config.boxes = ""  # of the first frame: "0.1,0.5,0.3,0.7;..."; "none"; "" for any
    config.futures = 1  # videos from the same first frame
    config.context = placeholder(str)  # image or video that it begins with
    config.parts = ConfigDict(sort_keys=False)  # in order
    return config


def part(
    kind: str,
    config: str,
    weights: str,
    *,
    overrides: Sequence[str] = (),
    rounds: int = 1,
) -> ConfigDict:
    """Return a part.

    Args:
        kind: see `vldm_jax.stack.plan`.
        config: FILE.py[:VARIANT] of its stage.
        weights: file, workdir or "asset:NAME"; "" leaves the part out.
        overrides: "section.key=value" of its config.
        rounds: of interpolation.
    """
    return ConfigDict(
        {
            "kind": kind,
            "config": config,
            "weights": weights,
            "overrides": tuple(overrides),
            "rounds": rounds,
        }
    )
