"""Stable Diffusion's x4 upscaler on video frames (paper Sec. 3.4, 4.2; arXiv:2304.08818).

    vldm train --config configs/text2video/upsampler.py --workdir runs/text2video/upsampler \
        --config.data.path=VIDEOS --config.model.init=X4.safetensors \
        --config.model.autoencoder=F4.safetensors --config.model.null_context=NULL.safetensors

The files are what `vldm convert import` of the x4 upscaler's pipeline writes: a U-Net of 473M that
takes four latents and the low-resolution frame beside them, with the noise on it as a class, and an
autoencoder of factor 4 (55M), which stays as it is. The paper trains its temporal layers alone
(`video_upsampler.py`); this config is for tuning it to frames before, as the image model is: steps
and batch are chosen. 320x512 videos become 1280x2048.

Text is tokens `context` (b 77 1024) of a batch. No data source of this version brings them, so this
config builds and samples but does not train yet. Not run at all: needs accelerators; the tests
build it on shapes.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from vldm_jax.config.base import upsampler_config, variant_of
from vldm_jax.models.unet_sizes import SIZES


def get_config(variant: str = "full") -> ConfigDict:
    config = upsampler_config()
    config.data.height, config.data.width = 320, 512
    config.model.network.update(SIZES["x4_upscaler"])
    config.model.init = "X4.safetensors"
    config.model.null_context = placeholder(str)  # safetensors: "context" (1 77 1024)
    config.objective.p_drop = 0.1
    config.objective.patch = 320  # 80x80 latents and low-resolution pixels
    config.objective.low_noise = 349
    config.train.batch_size = 32  # patches
    config.train.total_steps = 10_000
    config.sampling.guidance = 9.0
    config.sampling.steps = 75
    config.sampling.context = placeholder(str)  # safetensors: "context" (b 77 1024)
    return variant_of(config, variant)
