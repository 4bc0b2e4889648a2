"""A temporal decoder for Stable Diffusion's latents (paper Sec. 4.2; arXiv:2304.08818).

    vldm train --config configs/text2video/decoder.py --workdir runs/text2video/decoder \
        --config.data.path=VIDEOS --config.model.init=AUTOENCODER.safetensors

Temporal layers in the decoder of SD's f8 autoencoder (14.1M parameters), 8 frames of 320x512 at 30
fps; encoder and scale stay, so every model on Stable Diffusion's latents takes the result as its
`config.model.autoencoder`. The paper tells neither weights of the losses, batch nor steps: they are
latent diffusion's and ours. Not run: needs accelerators; the tests build it on shapes.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from vldm_jax.config.base import decoder_config, variant_of
from vldm_jax.models.autoencoder import SIZES


def get_config(variant: str = "full") -> ConfigDict:
    config = decoder_config()
    config.data.height, config.data.width = 320, 512
    config.model.network = ConfigDict(
        dict(SIZES["sd_f8"], latent_channels=4, norm_groups=32, in_channels=3)
    )
    config.optim.name = "adam"
    config.optim.lr = 4.5e-6 * 32  # base rate times batch, as in latent diffusion
    config.optim.betas = (0.5, 0.9)
    config.optim.weight_decay = 0.0
    config.optim.clip_norm = placeholder(float)
    config.optim.warmup_steps = 1000
    config.train.precision = "float32"
    config.train.batch_size = 32  # clips
    config.train.total_steps = 50_000
    config.train.ema_decay = 0.999
    return variant_of(config, variant)
