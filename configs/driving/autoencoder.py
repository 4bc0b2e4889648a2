"""The driving autoencoder (paper Sec. 4.1, App. H; arXiv:2304.08818): KL, f = 8, on single frames.

    vldm train --config configs/driving/autoencoder.py --workdir runs/driving/autoencoder
    vldm train --config configs/driving/autoencoder.py:tiny --workdir runs/tiny/autoencoder

Full: Stable Diffusion's kl-f8 at 128x256, losses of latent diffusion. The paper gives no batch or
step count for it; these are latent diffusion's for LSUN-sized sets. Not run: needs accelerators.
Tiny: f = 8 and 8 channels at 64x128, the shipped `asset:driving/autoencoder.safetensors`; its
commands, times and figures are in docs/shipped.md.
"""

from ml_collections import ConfigDict, config_dict

from vldm_jax.models.autoencoder import SIZES


def get_config(variant: str = "full") -> ConfigDict:
    config = ConfigDict()
    config.seed = 0

    config.data = ConfigDict()
    config.data.kind = "folder"
    config.data.path = "asset:driving/clips"
    config.data.index = config_dict.placeholder(str)  # JSON file that remembers the scan
    config.data.labels = ()
    config.data.fps = 1.0  # the paper's rate of independent frames
    config.data.num_frames = 1
    config.data.stride = 1.0
    config.data.height, config.data.width = 128, 256
    config.data.split = "train"  # or "test": the shots held out
    config.data.test_fraction = 0.0  # share of shots held out
    config.data.enlarge = False  # whether videos smaller than height x width are used
    config.data.cuts = True  # whether to look for cuts inside a video
    config.data.cache = config_dict.placeholder(str)  # "memory" or a folder: decode once
    config.data.workers = 8

    config.model = ConfigDict()
    config.model.kind = "autoencoder"
    config.model.network = ConfigDict(
        dict(SIZES["sd_f8"], latent_channels=4, norm_groups=32, in_channels=3)
    )
    config.model.discriminator = ConfigDict({"base": 64, "layers": 3})
    config.model.perceptual = "vgg16"
    config.model.init = config_dict.placeholder(str)  # weights to start from; None: from scratch

    config.objective = ConfigDict()
    config.objective.kind = "autoencoder"
    config.objective.perceptual_weight = 1.0
    config.objective.kl_weight = 1e-6
    config.objective.disc_weight = 0.5
    config.objective.disc_start = 50_001  # step

    config.optim = ConfigDict()
    config.optim.name = "adam"
    config.optim.lr = 4.5e-6 * 96  # base rate times batch, as in latent diffusion
    config.optim.betas = (0.5, 0.9)
    config.optim.weight_decay = 0.0
    config.optim.clip_norm = config_dict.placeholder(float)
    config.optim.schedule = "constant"
    config.optim.warmup_steps = 1000
    config.optim.accumulate = 1

    config.train = ConfigDict()
    config.train.precision = "float32"
    config.train.batch_size = 96  # images over all devices
    config.train.total_steps = 300_000
    config.train.rules = (
        ("^perceptual/", "frozen"),
        ("^discriminator/", "discriminator"),
        ("^(autoencoder/|logvar)", "autoencoder"),
    )
    # group: (multiplier of lr, multiplier of weight_decay)
    config.train.groups = ConfigDict({"discriminator": (1.0, 0.0), "autoencoder": (1.0, 0.0)})
    config.train.ema_decay = 0.999
    config.train.log_every = 100
    config.train.sample_every = 5000
    config.train.stop_after_minutes = config_dict.placeholder(float)

    config.sampling = ConfigDict()
    config.sampling.num_videos = 8  # reconstructions in the contact sheet

    config.checkpoint = ConfigDict()
    config.checkpoint.every = 5000
    config.checkpoint.keep = 3
    config.checkpoint.weights_dtype = "float32"  # of weights.safetensors, written at the end

    if variant == "tiny":
        _tiny(config)
    elif variant != "full":
        raise ValueError(f"unknown variant {variant!r}: full or tiny")
    return config


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
