"""What the configs of the driving models share: the labelled clips, the diffusion, the tiny size.

    config = driving(image_config())     the paper's size, 128x256
    tiny(config)                         64x128 for two CPU cores, on what ships

Source: Align your Latents, arXiv:2304.08818, Sec. 4.1, App. E and H; the range of the noise
schedule is latent diffusion's.
"""

from ml_collections import ConfigDict

from vldm_jax.models.unet_sizes import SIZES


def driving(config: ConfigDict) -> ConfigDict:
    """Return a denoising config for driving: labels, U-Net, schedule, target."""
    config.data.path = "asset:driving/clips"
    config.data.labels = ("night", "cars")
    config.model.network.update(SIZES["driving"])
    config.diffusion.schedule.beta_start, config.diffusion.schedule.beta_end = 0.0015, 0.0195
    config.diffusion.target = "v"
    config.sampling.guidance = 1.5
    config.sampling.labels = ((0.0, 4.0), (1.0, 4.0))  # night, cars; in turn; () for any
    return config


def tiny(config: ConfigDict) -> None:
    """Make a denoising config for driving one for two CPU cores."""
    config.data.height, config.data.width = 64, 128
    config.data.cache = "memory"
    config.data.workers = 0
    config.model.network.update(SIZES["driving_tiny"])
    config.model.autoencoder = "asset:driving/autoencoder.safetensors"
    config.optim.lr = 1e-3
    config.train.precision = "float32"
    config.sampling.solver = ConfigDict({"kind": "dpmpp_2m"})
    config.sampling.grid = ConfigDict({"kind": "trailing"})
    config.sampling.steps = 16
    config.checkpoint.weights_dtype = "float16"


def tiny_video(config: ConfigDict) -> None:
    """Make a config of temporal layers for driving one for two CPU cores."""
    tiny(config)
    config.data.stride = 0.25
    config.model.backbone = "asset:driving/image.safetensors"
    config.optim.warmup_steps = 50
    config.train.batch_size = 4
    config.train.total_steps = 2000
    config.train.ema_decay = 0.99
    config.train.log_every = 20
    config.train.sample_every = 500
    config.checkpoint.every = 200
