"""Longer text-to-video: key frames that go on from the frames before (paper Sec. 3.2).

    vldm train --config configs/text2video/prediction.py --workdir runs/text2video/prediction \
        --config.data.path=VIDEOS --config.model.backbone=IMAGE.safetensors \
        --config.model.autoencoder=AUTOENCODER.safetensors \
        --config.model.null_context=NULL.safetensors --config.model.init=VIDEO.safetensors

The paper's text-to-video is 8 key frames; this is its prediction (driving, Sec. 4.1) for it, one
model for S in {0, 1, 2}, started from `text2video/video`. Batch and steps are chosen. Not run.
"""

from ml_collections import ConfigDict

from vldm_jax.config import text2video
from vldm_jax.config.base import variant_of, video_config


def get_config(variant: str = "full") -> ConfigDict:
    config = text2video.on_sd21(video_config())
    config.data.fps = 1.875
    config.model.network.more_conditions = ({"kind": "context_frames", "channels": 4},)
    config.objective.given = ((1.0, ()), (1.0, (0,)), (1.0, (0, 1)))
    config.train.batch_size = 768  # clips
    config.train.total_steps = 100_000
    config.sampling.context_guidance = 2.0
    return variant_of(config, variant, sd14=text2video.on_sd14)
