"""The driving image model (paper Sec. 4.1, Table 6; arXiv:2304.08818), trained on single frames.

    vldm train  --config configs/driving/image.py --workdir runs/driving/image \
        --config.model.autoencoder=runs/driving/autoencoder/weights.safetensors
    vldm train  --config configs/driving/image.py:tiny --workdir runs/tiny/image
    vldm sample --config configs/driving/image.py:tiny --workdir runs/tiny/image --out samples

Full: latents 16x32x4 of 128x256 frames at 1 fps, v target, 73K steps of 640 frames on 16 A100 (as
reported second-hand; the U-Net's size is not known: see `unet_sizes`). Not run: needs accelerators.
Day or night and the number of cars enter as context tokens, dropped together at 0.1.
Tiny: 64x128 with the tiny autoencoder; the shipped `asset:driving/image.safetensors`, see
docs/shipped.md for its commands, times and figures.
"""

from ml_collections import ConfigDict, config_dict

from vldm_jax.models.unet_sizes import SIZES


def get_config(variant: str = "full") -> ConfigDict:
    config = ConfigDict()
    config.seed = 0

    config.data = ConfigDict()
    config.data.kind = "folder"
    config.data.path = "asset:driving/clips"
    config.data.index = config_dict.placeholder(str)  # JSON file that remembers the scan
    config.data.labels = ("night", "cars")  # by name, from labels.json; unknown where it lacks them
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
    config.model.kind = "unet"
    config.model.network = ConfigDict(SIZES["driving"])
    config.model.autoencoder = config_dict.placeholder(str)
    config.model.init = config_dict.placeholder(str)  # weights to start from; None: from scratch

    config.diffusion = ConfigDict()
    config.diffusion.schedule = ConfigDict(
        {"kind": "scaled_linear", "beta_start": 0.0015, "beta_end": 0.0195, "num_steps": 1000}
    )
    config.diffusion.zero_terminal_snr = False
    config.diffusion.target = "v"
    config.diffusion.min_snr_gamma = config_dict.placeholder(float)

    config.objective = ConfigDict()
    config.objective.kind = "image"
    config.objective.p_drop = 0.1  # of labels, for guidance
    config.objective.use_labels = True

    config.optim = ConfigDict()
    config.optim.name = "adamw"
    config.optim.lr = 1e-4
    config.optim.betas = (0.9, 0.999)
    config.optim.weight_decay = 0.01
    config.optim.clip_norm = 1.0
    config.optim.schedule = "constant"
    config.optim.warmup_steps = 10_000
    config.optim.accumulate = 1

    config.train = ConfigDict()
    config.train.precision = "bfloat16"
    config.train.batch_size = 640  # frames over all devices
    config.train.total_steps = 73_000
    config.train.rules = (
        ("^autoencoder/", "frozen"),
        ("^network/.*(norm|bias)", "plain"),
        ("^network/", "network"),
    )
    # group: (multiplier of lr, multiplier of weight_decay)
    config.train.groups = ConfigDict({"network": (1.0, 1.0), "plain": (1.0, 0.0)})
    config.train.ema_decay = 0.9999
    config.train.log_every = 100
    config.train.sample_every = 5000
    config.train.stop_after_minutes = config_dict.placeholder(float)

    config.sampling = ConfigDict()
    config.sampling.solver = ConfigDict({"kind": "ddim", "eta": 0.0})
    config.sampling.grid = ConfigDict({"kind": "uniform"})
    config.sampling.steps = 50
    config.sampling.guidance = 1.5
    config.sampling.num_videos = 16  # images
    config.sampling.batch_size = 16  # images sampled at once
    config.sampling.labels = ((0.0, 4.0), (1.0, 4.0))  # night, cars; in turn; () for any

    config.checkpoint = ConfigDict()
    config.checkpoint.every = 1000
    config.checkpoint.keep = 3
    config.checkpoint.weights_dtype = "float32"  # of weights.safetensors, written at the end

    if variant == "tiny":
        _tiny(config)
    elif variant != "full":
        raise ValueError(f"unknown variant {variant!r}: full or tiny")
    return config


def _tiny(config: ConfigDict) -> None:
    config.data.fps = 10.0
    config.data.height, config.data.width = 64, 128
    config.data.cache = "memory"
    config.data.workers = 0
    config.model.network = ConfigDict(SIZES["driving_tiny"])
    config.model.autoencoder = "asset:driving/autoencoder.safetensors"
    config.optim.lr = 1e-3
    config.optim.schedule = "cosine"
    config.optim.warmup_steps = 200
    config.train.precision = "float32"
    config.train.batch_size = 16
    config.train.total_steps = 3000
    config.train.ema_decay = 0.999
    config.train.log_every = 50
    config.train.sample_every = 1000
    config.sampling.solver = ConfigDict({"kind": "dpmpp_2m"})
    config.sampling.grid = ConfigDict({"kind": "trailing"})
    config.sampling.steps = 16
    config.checkpoint.every = 500
    config.checkpoint.weights_dtype = "float16"
