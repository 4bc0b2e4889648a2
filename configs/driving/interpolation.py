"""Frames between frames, at two rates with one model (paper Sec. 3.3, 4.1; arXiv:2304.08818).

    vldm train    --config configs/driving/interpolation.py --workdir runs/driving/interpolation \
        --config.model.backbone=runs/driving/image/weights.safetensors \
        --config.model.autoencoder=runs/driving/autoencoder/weights.safetensors
    vldm train    --config configs/driving/interpolation.py:tiny --workdir runs/tiny/interpolation
    vldm evaluate --workdir runs/tiny/interpolation --out figures --config.data.more_fps="()"

Windows of 5 frames whose first and last are given: 1.875 -> 7.5 fps and 7.5 -> 30 fps, told apart
by a label. Noise of time 0 to 250 on the given frames, its time embedded (App. H has it for text).
Full: temporal layers alone, 128x256; the paper does not say what its driving model trains. Steps
and batch are the text-to-video model's, 95K of 8 clips on 128 GPUs, as reported second-hand.
Windows of 5 are Stable Video Diffusion's choice. Not run.
Tiny: 64x128 on the shipped image model, from the shipped temporal layers:
`asset:driving/interpolation.safetensors`, 7 minutes on a GPU (docs/shipped.md).
"""

from ml_collections import ConfigDict

from vldm_jax.config import driving
from vldm_jax.config.base import interpolation, variant_of, video_config


def get_config(variant: str = "full") -> ConfigDict:
    config = interpolation(driving.driving(video_config()), channels=4)
    config.model.temporal.mix = "per_frame"
    config.train.batch_size = 1024  # windows
    config.train.total_steps = 95_000
    config.sampling.guidance = 1.0
    return variant_of(config, variant, tiny=_tiny)


def _tiny(config: ConfigDict) -> None:
    driving.tiny_video(config)
    interpolation(config, channels=8)
    config.data.stride = 1.0
    config.model.init = "asset:driving/temporal.safetensors"
    config.optim.schedule = "cosine"
    config.train.batch_size = 8
    config.train.total_steps = 2500
    config.train.ema_decay = 0.998
