"""The driving autoencoder (paper Sec. 4.1, App. H; arXiv:2304.08818): KL, f = 8, on single frames.

    vldm train --config configs/driving/autoencoder.py --workdir runs/driving/autoencoder
    vldm train --config configs/driving/autoencoder.py:tiny --workdir runs/tiny/autoencoder

Full: Stable Diffusion's kl-f8 at 128x256, losses of latent diffusion. The paper gives no batch or
step count for it; these are latent diffusion's for LSUN-sized sets. Not run: needs 8 accelerators.
Tiny: f = 8 and 8 channels at 64x128, the shipped `asset:driving/autoencoder.safetensors`: two CPU
cores, two rounds of about 40 minutes, L1 0.033 and LPIPS 0.021 (docs/shipped.md).
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from vldm_jax.config.base import autoencoder_config, variant_of
from vldm_jax.models.autoencoder import SIZES


def get_config(variant: str = "full") -> ConfigDict:
    config = autoencoder_config()
    config.data.path = "asset:driving/clips"

    config.model.network = ConfigDict(
        dict(SIZES["sd_f8"], latent_channels=4, norm_groups=32, in_channels=3)
    )

    config.optim.name = "adam"
    config.optim.lr = 4.5e-6 * 96  # base rate times batch, as in latent diffusion
    config.optim.betas = (0.5, 0.9)
    config.optim.weight_decay = 0.0
    config.optim.clip_norm = placeholder(float)
    config.optim.warmup_steps = 1000

    config.train.precision = "float32"
    config.train.batch_size = 96  # images
    config.train.total_steps = 300_000
    config.train.ema_decay = 0.999
    config.checkpoint.every = 5000
    return variant_of(config, variant, tiny=_tiny)


def _tiny(config: ConfigDict) -> None:
    config.data.height, config.data.width = 64, 128
    config.data.fps = 10.0
    config.data.cache = "memory"
    config.data.workers = 0
    # Eight channels: at 64x128 a car is ten pixels wide, which four channels at f = 8 blur away.
    config.model.network.base = 16
    config.model.network.mult = (1, 2, 4, 6)
    config.model.network.blocks = 1
    config.model.network.latent_channels = 8
    config.model.network.norm_groups = 8
    config.model.network.latent_scale = 1.0
    config.model.perceptual = "alexnet"
    config.objective.perceptual_weight = 0.5
    config.objective.disc_weight = 0.0
    config.optim.lr = 2e-3
    config.optim.betas = (0.9, 0.99)
    config.optim.clip_norm = 1.0
    config.optim.schedule = "cosine"
    config.optim.warmup_steps = 100
    config.train.batch_size = 8
    config.train.total_steps = 2000
    config.train.ema_decay = 0.995
    config.train.log_every = 50
    config.train.sample_every = 250
    config.checkpoint.every = 250
    config.checkpoint.weights_dtype = "float16"
