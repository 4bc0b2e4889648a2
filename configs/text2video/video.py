"""Temporal layers on Stable Diffusion 2.1 (paper Sec. 4.2, App. H.2; arXiv:2304.08818).

    vldm train --config configs/text2video/video.py --workdir runs/text2video/video \
        --config.data.path=VIDEOS --config.model.backbone=IMAGE.safetensors \
        --config.model.autoencoder=AUTOENCODER.safetensors \
        --config.model.null_context=NULL.safetensors

`:sd14` is on Stable Diffusion 1.x (649M temporal layers).
656M temporal layers on the frozen, frame-tuned 2.1 U-Net: 8 key frames at about 2 fps and 320x512,
text in spatial and temporal cross-attention, a scalar mix a layer and relative positions (App. D:
both let it run on longer sequences), epsilon target. 402K steps of 3 clips on 256 A100-80GB (as
reported second-hand).

Text is tokens `context` (b 77 1024) of a batch. No data source of this version brings them, so this
config builds and samples but does not train yet. Not run at all: needs accelerators; the tests
build it on shapes.
"""

from ml_collections import ConfigDict

from vldm_jax.config import text2video
from vldm_jax.config.base import variant_of, video_config


def get_config(variant: str = "full") -> ConfigDict:
    config = text2video.on_sd21(video_config())
    config.data.fps = 1.875  # key frames: 30 / 16
    config.train.batch_size = 768  # clips
    config.train.total_steps = 402_000
    return variant_of(config, variant, sd14=text2video.on_sd14)
