"""The temporal decoder for driving (paper Sec. 3.1.1, Fig. 3; arXiv:2304.08818): no more flicker.

    vldm train    --config configs/driving/decoder.py --workdir runs/driving/decoder \
        --config.model.init=runs/driving/autoencoder/weights.safetensors
    vldm train    --config configs/driving/decoder.py:tiny --workdir runs/tiny/decoder
    vldm evaluate --workdir runs/tiny/decoder --out after --figures fvd,flicker,psnr,lpips
    vldm evaluate --config configs/driving/decoder.py:tiny --out before \
        --weights asset:driving/autoencoder.safetensors --figures fvd,flicker,psnr,lpips

Full: temporal layers in the kl-f8 decoder (14.1M parameters) on 8 frames at 30 fps and 128x256, the
frozen encoder's latents. Losses are latent diffusion's; the paper tells neither weights, batch nor
steps, so batch and steps are ours. Not run: needs 8 accelerators.
Tiny: on the shipped autoencoder at 64x128.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from vldm_jax.config.base import decoder_config, variant_of
from vldm_jax.models.autoencoder import SIZES


def get_config(variant: str = "full") -> ConfigDict:
    config = decoder_config()
    config.data.path = "asset:driving/clips"
    config.model.network = ConfigDict(
        dict(SIZES["sd_f8"], latent_channels=4, norm_groups=32, in_channels=3)
    )

    config.optim.name = "adam"
    config.optim.lr = 4.5e-6 * 16  # base rate times batch, as in latent diffusion
    config.optim.betas = (0.5, 0.9)
    config.optim.weight_decay = 0.0
    config.optim.clip_norm = placeholder(float)
    config.optim.warmup_steps = 1000

    config.train.precision = "float32"
    config.train.batch_size = 16  # clips
    config.train.total_steps = 50_000
    config.train.ema_decay = 0.999
    config.checkpoint.every = 1000
    return variant_of(config, variant, tiny=_tiny)


def _tiny(config: ConfigDict) -> None:
    config.data.height, config.data.width = 64, 128
    config.data.cache = "memory"
    config.data.workers = 0
    config.model.init = "asset:driving/autoencoder.safetensors"
    config.model.network.base = 16
    config.model.network.mult = (1, 2, 4, 6)
    config.model.network.blocks = 1
    config.model.network.latent_channels = 8
    config.model.network.norm_groups = 8
    config.model.discriminator = ConfigDict({"base": 16, "time_strides": (1, 2), "norm_groups": 8})
    config.model.perceptual = "alexnet"
    config.objective.perceptual_weight = 0.5
    config.objective.disc_weight = 0.25
    config.objective.disc_start = 100
    config.optim.lr = 1e-3
    config.optim.clip_norm = 1.0
    config.optim.schedule = "cosine"
    config.optim.warmup_steps = 20
    config.train.groups.discriminator = (0.5, 0.0)
    config.train.batch_size = 1
    config.train.total_steps = 1000
    config.train.ema_decay = 0.99
    config.train.log_every = 20
    config.train.sample_every = 200
    config.sampling.num_videos = 4
    config.checkpoint.every = 100
    config.checkpoint.weights_dtype = "float16"
