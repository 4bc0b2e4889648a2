"""Frames between key frames on Stable Diffusion (paper Sec. 3.3, App. H.2; arXiv:2304.08818).

    vldm train --config configs/text2video/interpolation.py --workdir runs/text/interpolation \
        --config.data.path=VIDEOS --config.model.backbone=IMAGE.safetensors \
        --config.model.autoencoder=AUTOENCODER.safetensors \
        --config.model.null_context=NULL.safetensors --config.model.init=VIDEO.safetensors

Everything is trained and exported: 1,511M parameters on 1.x (`:sd14`), of which 2.3M embed noise
and rate; the paper's has 1,509M, as reported second-hand. Windows of 5 frames, one network for
1.875 -> 7.5 -> 30 fps, noise of time 0 to 250 on the given frames. 95K steps of 8 windows on 128
A100-80GB (second-hand); the learning rate is chosen. Not run: needs accelerators, and captions as
`text2video/video` does.
"""

from ml_collections import ConfigDict

from vldm_jax.config import text2video
from vldm_jax.config.base import interpolation, variant_of, video_config


def get_config(variant: str = "full") -> ConfigDict:
    config = interpolation(text2video.on_sd21(video_config()), channels=4)
    config.optim.lr = 3e-5
    config.train.batch_size = 1024  # windows
    config.train.total_steps = 95_000
    config.train.rules = (
        ("temporal.*mix", "mix"),
        ("^autoencoder/", "frozen"),
        ("norm|bias", "plain"),
        ("", "temporal"),
    )
    config.sampling.guidance = 1.0
    return variant_of(config, variant, sd14=text2video.on_sd14)
