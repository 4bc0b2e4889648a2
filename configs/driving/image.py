"""The driving image model (paper Sec. 4.1, Table 6; arXiv:2304.08818), trained on single frames.

    vldm train  --config configs/driving/image.py --workdir runs/driving/image \
        --config.model.autoencoder=runs/driving/autoencoder/weights.safetensors
    vldm train  --config configs/driving/image.py:tiny --workdir runs/tiny/image
    vldm sample --workdir runs/tiny/image --out samples

Full: latents 16x32x4 of 128x256 frames at 1 fps, v target, 73K steps of 640 frames on 16 A100 (as
reported second-hand; the U-Net's size is not known: see `unet_sizes`). Not run: needs accelerators.
Day or night and the number of cars enter as context tokens, each dropped at 0.1.
Tiny: 64x128 with the tiny autoencoder, the shipped `asset:driving/image.safetensors`: two CPU
cores, two rounds of about 40 minutes, v loss 0.235 (docs/shipped.md).
"""

from ml_collections import ConfigDict

from vldm_jax.config import driving
from vldm_jax.config.base import image_config, variant_of


def get_config(variant: str = "full") -> ConfigDict:
    config = driving.driving(image_config())
    config.train.batch_size = 640  # frames
    config.train.total_steps = 73_000
    return variant_of(config, variant, tiny=_tiny)


def _tiny(config: ConfigDict) -> None:
    driving.tiny(config)
    config.data.fps = 10.0
    config.optim.schedule = "cosine"
    config.optim.warmup_steps = 200
    config.train.batch_size = 16
    config.train.total_steps = 3000
    config.train.ema_decay = 0.999
    config.train.log_every = 50
    config.train.sample_every = 1000
    config.checkpoint.every = 500
