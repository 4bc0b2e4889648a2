"""Stable Diffusion 2.1 fine-tuned on video frames at 320x512 (paper Sec. 4.2; arXiv:2304.08818).

    vldm train --config configs/text2video/image.py --workdir runs/text2video/image \
        --config.data.path=VIDEOS --config.model.init=SD21.safetensors \
        --config.model.autoencoder=AUTOENCODER.safetensors \
        --config.model.null_context=NULL.safetensors

The files are what `vldm convert import` of a pipeline writes. `:sd14` is Stable Diffusion 1.x.
Stable Diffusion was trained on squares; temporal layers put straight on it at 320x512 degrade
badly, so the image model is tuned first on independent frames with their captions. 14K steps, lr
1e-4, epsilon (Table 7 as reported second-hand); 304 frames a step, not 300, so that they divide
over 8 devices.

Text is tokens `context` (b 77 1024) of a batch. No data source of this version brings them, so this
config builds and samples but does not train yet. Not run at all: needs accelerators; the tests
build it on shapes.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from vldm_jax.config.base import image_config, variant_of
from vldm_jax.models.unet_sizes import SIZES


def get_config(variant: str = "full") -> ConfigDict:
    config = image_config()
    config.data.height, config.data.width = 320, 512
    config.model.network.update(SIZES["sd21"])
    config.model.init = "SD21.safetensors"
    config.model.null_context = placeholder(str)  # safetensors: "context" (1 77 1024)
    config.train.batch_size = 304  # frames
    config.train.total_steps = 14_000
    config.sampling.guidance = 7.5
    config.sampling.context = placeholder(str)  # safetensors: "context" (b 77 1024)
    return variant_of(config, variant, sd14=_sd14)


def _sd14(config: ConfigDict) -> None:
    config.model.network = ConfigDict(dict(SIZES["sd14"], remat=False))
