"""Temporal layers for Stable Diffusion's x4 upscaler (paper Sec. 3.4, 4.2; arXiv:2304.08818).

    vldm train --config configs/text2video/video_upsampler.py --workdir runs/video_upsampler \
        --config.data.path=VIDEOS --config.model.backbone=X4.safetensors \
        --config.model.autoencoder=F4.safetensors --config.model.null_context=NULL.safetensors

Temporal layers on the frozen 473M upscaler: 438M here, 449M in the paper (second-hand), whose
recipe is not told. Patches of 320x320 of clips of 8 frames (the number of frames is chosen), text
in spatial and temporal cross-attention; steps and batch are chosen. Used on whole frames: 320x512
videos become 1280x2048, in chunks of 8 frames and, where memory asks for it, in tiles
(`--config.sampling.tile="(640, 1024)"`).

Text is tokens `context` (b 77 1024) of a batch. No data source of this version brings them, so this
config builds and samples but does not train yet. Not run at all: needs accelerators; the tests
build it on shapes.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from vldm_jax.config.base import variant_of, video_upsampler_config
from vldm_jax.models.unet_sizes import SIZES


def get_config(variant: str = "full") -> ConfigDict:
    config = video_upsampler_config()
    config.data.fps = 30.0
    config.data.height, config.data.width = 320, 512
    config.model.network.update(SIZES["x4_upscaler"])
    config.model.temporal.positions = "relative"
    config.model.null_context = placeholder(str)  # safetensors: "context" (1 77 1024)
    config.objective.p_drop = 0.1
    config.objective.patch = 320  # 80x80 latents and low-resolution pixels
    config.objective.low_noise = 349
    config.train.batch_size = 64  # clips
    config.train.total_steps = 20_000
    config.sampling.guidance = 9.0
    config.sampling.steps = 75
    config.sampling.context = placeholder(str)  # safetensors: "context" (b 77 1024)
    return variant_of(config, variant)
