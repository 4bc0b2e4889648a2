"""Temporal layers for the driving upsampler (paper Sec. 3.4, App. H; arXiv:2304.08818).

    vldm train    --config configs/driving/video_upsampler.py --workdir runs/video_upsampler \
        --config.data.path=VIDEOS --config.model.backbone=runs/driving/upsampler/weights.safetensors
    vldm train    --config configs/driving/video_upsampler.py:tiny --workdir runs/video_upsampler \
        --config.data.path=CLIPS --config.model.backbone=runs/tiny/upsampler/weights.safetensors
    vldm evaluate --workdir runs/video_upsampler --figures fvd,flicker,psnr,lpips --out figures

Full: patches of clips of 8 frames at 30 fps, the image upsampler frozen; used in portions of 8
frames (paper). Nothing is told of this training: steps, learning rate, batch and the overlap of 2
frames are chosen. Not run: needs accelerators.
Tiny: 256x512, on the tiny image upsampler. `--config.sampling.image_only=True` evaluates the image
upsampler by itself, `--config.sampling.method=bicubic` the baseline,
`--config.data.num_frames=16` clips of two chunks and more.
"""

from ml_collections import ConfigDict

from vldm_jax.config.base import variant_of, video_upsampler_config
from vldm_jax.models.unet_sizes import SIZES


def get_config(variant: str = "full") -> ConfigDict:
    config = video_upsampler_config()
    config.data.fps = 30.0
    config.data.height, config.data.width = 512, 1024
    config.model.autoencoder = "pixels"
    config.model.network.update(SIZES["driving_upsampler"])
    config.objective.patch = 320
    config.train.batch_size = 32  # clips
    config.train.total_steps = 20_000
    return variant_of(config, variant, tiny=_tiny)


def _tiny(config: ConfigDict) -> None:
    config.data.height, config.data.width = 256, 512
    config.data.stride = 4
    config.data.cache = "memory"
    config.data.workers = 0
    config.model.autoencoder = "residual/4"
    config.model.network.update(SIZES["driving_upsampler_tiny"])
    config.objective.patch = 96
    config.optim.lr = 1e-3
    config.optim.schedule = "cosine"
    config.optim.warmup_steps = 50
    config.train.precision = "float32"
    config.train.batch_size = 4
    config.train.total_steps = 1500
    config.train.ema_decay = 0.995
    config.train.log_every = 20
    config.train.sample_every = 500
    config.sampling.solver = ConfigDict({"kind": "dpmpp_2m"})
    config.sampling.grid = ConfigDict({"kind": "trailing"})
    config.sampling.steps = 4
    config.checkpoint.every = 100
    config.checkpoint.weights_dtype = "float16"
