"""What the configs of text-to-video share: Stable Diffusion as the image model, text, 320x512.

Source: Align your Latents, arXiv:2304.08818, Sec. 4.2 and App. H.2.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from vldm_jax.models.unet_sizes import SIZES


def on_sd21(config: ConfigDict) -> ConfigDict:
    """Return a config of temporal layers on Stable Diffusion 2.1."""
    config.data.height, config.data.width = 320, 512
    config.model.network.update(SIZES["sd21"])
    config.model.temporal.positions = "relative"
    config.model.null_context = placeholder(str)  # safetensors: "context" (1 77 d)
    config.sampling.guidance = 7.5
    config.sampling.context = placeholder(str)  # safetensors: "context" (b 77 d)
    return config


def on_sd14(config: ConfigDict) -> None:
    """Put a config of temporal layers on Stable Diffusion 1.x."""
    network = config.model.network
    more = network.more_conditions if "more_conditions" in network else ()
    config.model.network = ConfigDict(dict(SIZES["sd14"], remat=network.remat))
    if more:
        config.model.network.more_conditions = more
