"""The stages by the kind that `config.objective` names.

| kind | trains | stands on | leaves |
|---|---|---|---|
| autoencoder | autoencoder, discriminator | LPIPS weights | "autoencoder", its latents' scale |
| image | U-Net | autoencoder | "unet" |
| video | temporal layers | image model, autoencoder | "temporal" and its backbone's hash |
"""

from ml_collections import ConfigDict

from vldm_jax.config.ranges import check_ranges
from vldm_jax.core.errors import InputError
from vldm_jax.stages.autoencoder import AutoencoderStage
from vldm_jax.stages.base import Stage
from vldm_jax.stages.image import ImageStage
from vldm_jax.stages.video import VideoStage

STAGES: dict[str, type[Stage]] = {
    "autoencoder": AutoencoderStage,
    "image": ImageStage,
    "video": VideoStage,
}


def make_stage(config: ConfigDict) -> Stage:
    """Return the stage of a config; nothing is read.

    Raises:
        InputError: naming the first key that does not fit.
    """
    check_ranges(config)
    kind = config.objective.kind
    if kind not in STAGES:
        raise InputError(f"config.objective.kind={kind!r}: choose one of {sorted(STAGES)}")
    return STAGES[kind](config)
