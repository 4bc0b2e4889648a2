"""The stages by the kind that `config.objective` names.

| kind | trains | stands on | leaves |
|---|---|---|---|
| autoencoder | autoencoder, discriminator | LPIPS weights | "autoencoder", its latents' scale |
| decoder | a decoder's temporal layers, discriminator | autoencoder, LPIPS | "autoencoder" |
| image | U-Net | autoencoder | "unet" |
| video | temporal layers | image model, autoencoder | "temporal" and its backbone's hash |
| upsampler | U-Net, on patches | autoencoder, or pixels | "unet" |
| video_upsampler | temporal layers, on patches | image upsampler | "temporal" and its hash |
| detector | detector | an autoencoder to reconstruct frames, or none | "detector" |
"""

from ml_collections import ConfigDict

from vldm_jax.conditions import CONDITIONS
from vldm_jax.config.base import base_config
from vldm_jax.config.data import keys_of
from vldm_jax.config.ranges import check_complete, check_known, check_ranges
from vldm_jax.core.errors import InputError
from vldm_jax.stages.autoencoder import AutoencoderStage
from vldm_jax.stages.base import Stage
from vldm_jax.stages.decoder import DecoderStage
from vldm_jax.stages.detector import DetectorStage
from vldm_jax.stages.image import ImageStage
from vldm_jax.stages.upsampler import UpsamplerStage
from vldm_jax.stages.video import VideoStage
from vldm_jax.stages.video_upsampler import VideoUpsamplerStage

STAGES: dict[str, type[Stage]] = {
    "autoencoder": AutoencoderStage,
    "decoder": DecoderStage,
    "image": ImageStage,
    "video": VideoStage,
    "upsampler": UpsamplerStage,
    "video_upsampler": VideoUpsamplerStage,
    "detector": DetectorStage,
}


def make_stage(config: ConfigDict) -> Stage:
    """Return the stage of a config; nothing is read.

    Raises:
        InputError: naming the first key that does not fit.
    """
    if "parts" in config:
        raise InputError(
            "this is the config of a stack of models, which vldm sample runs: give that of one of "
            "its parts"
        )
    check_complete(config, base_config())
    kind = config.objective.kind
    if kind not in STAGES:
        raise InputError(f"config.objective.kind={kind!r}: choose one of {sorted(STAGES)}")
    stage = STAGES[kind]
    check_complete(config, stage.base())
    check_known(config, stage.base(), _more_keys(stage, config))
    check_ranges(config)
    return stage(config)


def _more_keys(stage: type[Stage], config: ConfigDict) -> dict[str, tuple[str, ...] | None]:
    """Return the keys that a section may have beside those of the stage's base."""
    data = keys_of(config.data)
    more = {
        "data": data,
        "model": None,  # these two the stage looks at itself
        "objective": None,
        # A config may ask for what its network was made without.
        "sampling": tuple(condition.key for condition in CONDITIONS.values()),
    }
    for name, keys in stage.also_reads.items():
        there = more.get(name, ())
        more[name] = None if there is None else (*there, *keys)
    return more
