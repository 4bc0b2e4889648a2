"""Temporal layers for driving (paper Sec. 3.1.1, App. H; arXiv:2304.08818): key frames from noise.

    vldm train  --config configs/driving/video.py --workdir runs/driving/video \
        --config.model.backbone=runs/driving/image/weights.safetensors \
        --config.model.autoencoder=runs/driving/autoencoder/weights.safetensors
    vldm train  --config configs/driving/video.py:tiny --workdir runs/tiny/video
    vldm sample --workdir runs/tiny/video --out samples

Full: 8 frames at 2 fps and 128x256, the image model frozen, one mix a layer and frame (App. D), v
target. Steps are those of the paper's ablation (60K on 2 GPUs of 18 clips, Table 6-8 as reported
second-hand); 40 clips, not 36, so that they divide over 8 devices. Not run: needs 8 accelerators.
Tiny: 64x128 at 7.5 fps on the shipped image model: two CPU cores, 37 minutes, v loss 0.240 to
0.194. `asset:driving/temporal.safetensors` went on from there on a GPU (docs/shipped.md).
"""

from ml_collections import ConfigDict

from vldm_jax.config import driving
from vldm_jax.config.base import variant_of, video_config


def get_config(variant: str = "full") -> ConfigDict:
    config = driving.driving(video_config())
    config.data.fps = 2.0  # key frames; 1.875 where the source has 30 fps
    config.model.temporal.mix = "per_frame"
    config.train.batch_size = 40  # clips
    config.train.total_steps = 60_000
    return variant_of(config, variant, tiny=_tiny)


def _tiny(config: ConfigDict) -> None:
    driving.tiny_video(config)
    config.data.fps = 7.5
