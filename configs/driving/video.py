"""Temporal layers for driving (paper Sec. 3.1.1, App. H; arXiv:2304.08818): key frames from noise.

    vldm train  --config configs/driving/video.py --workdir runs/driving/video \
        --config.model.backbone=runs/driving/image/weights.safetensors \
        --config.model.autoencoder=runs/driving/autoencoder/weights.safetensors
    vldm train  --config configs/driving/video.py:tiny --workdir runs/tiny/video
    vldm sample --workdir runs/tiny/video --out samples

Full: 8 frames at 2 fps and 128x256, the image model frozen, one mix a layer and frame (App. D), v
target. Steps are those of the paper's ablation (60K on 2 GPUs of 18 clips, Table 6-8 as reported
second-hand); 40 clips, not 36, so that they divide over 8 devices. Not run: needs 8 accelerators.
Tiny: 64x128 at 7.5 fps on the shipped image model, `asset:driving/temporal.safetensors`: two CPU
cores, 37 minutes, v loss 0.240 to 0.194 (docs/shipped.md).
"""

from ml_collections import ConfigDict

from vldm_jax.config.base import variant_of, video_config
from vldm_jax.models.unet_sizes import SIZES


def get_config(variant: str = "full") -> ConfigDict:
    config = video_config()
    config.data.path = "asset:driving/clips"
    config.data.labels = ("night", "cars")
    config.data.fps = 2.0  # key frames; 1.875 where the source has 30 fps
    config.model.network.update(SIZES["driving"])
    config.model.temporal.mix = "per_frame"
    config.diffusion.schedule.beta_start, config.diffusion.schedule.beta_end = 0.0015, 0.0195
    config.diffusion.target = "v"
    config.train.batch_size = 40  # clips
    config.train.total_steps = 60_000
    config.sampling.guidance = 1.5
    config.sampling.labels = ((0.0, 4.0), (1.0, 4.0))  # night, cars; in turn; () for any
    return variant_of(config, variant, tiny=_tiny)


def _tiny(config: ConfigDict) -> None:
    config.data.fps = 7.5
    config.data.stride = 0.25
    config.data.height, config.data.width = 64, 128
    config.data.cache = "memory"
    config.data.workers = 0
    config.model.network.update(SIZES["driving_tiny"])
    config.model.backbone = "asset:driving/image.safetensors"
    config.model.autoencoder = "asset:driving/autoencoder.safetensors"
    config.optim.lr = 1e-3
    config.optim.warmup_steps = 50
    config.train.precision = "float32"
    config.train.batch_size = 4
    config.train.total_steps = 2000
    config.train.ema_decay = 0.99
    config.train.log_every = 20
    config.train.sample_every = 500
    config.sampling.solver = ConfigDict({"kind": "dpmpp_2m"})
    config.sampling.grid = ConfigDict({"kind": "trailing"})
    config.sampling.steps = 16
    config.checkpoint.every = 200
    config.checkpoint.weights_dtype = "float16"
