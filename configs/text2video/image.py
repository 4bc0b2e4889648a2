"""Stable Diffusion 2.1 fine-tuned on video frames at 320x512 (paper Sec. 4.2; arXiv:2304.08818).

    vldm train --config configs/text2video/image.py --workdir runs/text2video/image \
        --config.data.path=VIDEOS --config.model.init=SD21.safetensors \
        --config.model.autoencoder=AUTOENCODER.safetensors \
        --config.model.null_context=NULL.safetensors

Stable Diffusion was trained on squares; temporal layers put straight on it at 320x512 degrade
badly, so the image model is tuned first on independent frames with their captions. 14K steps of 300
frames, lr 1e-4, epsilon (Table 7 as reported second-hand).

Text is tokens `context` (b 77 1024) of a batch. No data source of this version brings them, so this
config builds and samples but does not train yet. Not run at all: needs accelerators; the tests
build it under `jax.eval_shape`.
"""

from ml_collections import ConfigDict, config_dict

from vldm_jax.models.unet_sizes import SIZES


def get_config(variant: str = "full") -> ConfigDict:
    config = ConfigDict()
    config.seed = 0

    config.data = ConfigDict()
    config.data.kind = "folder"
    config.data.path = config_dict.placeholder(str)
    config.data.index = config_dict.placeholder(str)  # JSON file that remembers the scan
    config.data.labels = ()
    config.data.fps = 1.0  # the paper's rate of independent frames
    config.data.num_frames = 1
    config.data.stride = 1.0
    config.data.height, config.data.width = 320, 512
    config.data.split = "train"  # or "test": the shots held out
    config.data.test_fraction = 0.0  # share of shots held out
    config.data.enlarge = False  # whether videos smaller than height x width are used
    config.data.cuts = True  # whether to look for cuts inside a video
    config.data.cache = config_dict.placeholder(str)  # "memory" or a folder: decode once
    config.data.workers = 8

    config.model = ConfigDict()
    config.model.kind = "unet"
    config.model.network = ConfigDict(SIZES["sd21"])
    config.model.init = "SD21.safetensors"  # weights to start from; None: from scratch
    config.model.autoencoder = config_dict.placeholder(str)
    config.model.null_context = config_dict.placeholder(str)  # safetensors: "context" (1 77 1024)

    config.diffusion = ConfigDict()
    config.diffusion.schedule = ConfigDict(
        {"kind": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "num_steps": 1000}
    )
    config.diffusion.zero_terminal_snr = False
    config.diffusion.target = "epsilon"  # as the 512-pixel base models
    config.diffusion.min_snr_gamma = config_dict.placeholder(float)

    config.objective = ConfigDict()
    config.objective.kind = "image"
    config.objective.p_drop = 0.1  # of the text, for guidance
    config.objective.use_labels = False

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
    config.train.batch_size = 300  # frames over all devices
    config.train.total_steps = 14_000
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
    config.sampling.guidance = 7.5
    config.sampling.context = config_dict.placeholder(str)  # safetensors: "context" (b 77 1024)
    config.sampling.num_videos = 16  # images
    config.sampling.batch_size = 16  # images sampled at once

    config.checkpoint = ConfigDict()
    config.checkpoint.every = 1000
    config.checkpoint.keep = 3
    config.checkpoint.weights_dtype = "float32"  # of weights.safetensors, written at the end

    if variant != "full":
        raise ValueError(f"unknown variant {variant!r}: full")
    return config
