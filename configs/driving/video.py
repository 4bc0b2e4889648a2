"""Temporal layers for driving (paper Sec. 3.1.1, App. H; arXiv:2304.08818): key frames from noise.

    vldm train  --config configs/driving/video.py --workdir runs/driving/video \
        --config.model.backbone=runs/driving/image/weights.safetensors \
        --config.model.autoencoder=runs/driving/autoencoder/weights.safetensors
    vldm train  --config configs/driving/video.py:tiny --workdir runs/tiny/video
    vldm sample --config configs/driving/video.py:tiny --workdir runs/tiny/video --out samples

Full: 8 frames at 2 fps and 128x256, the image model frozen, one mix a layer and frame (App. D), v
target. Steps and batch are those of the paper's ablation (60K steps, 2 GPUs of 18 clips; Table 6-8
as reported second-hand). Not run: needs accelerators.
Tiny: 64x128 at 7.5 fps on the shipped image model, `asset:driving/temporal.safetensors`.
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
    config.data.fps = 2.0  # key frames; 1.875 where the source has 30 fps
    config.data.num_frames = 8
    config.data.stride = 1.0  # frames between the starts of two windows
    config.data.height, config.data.width = 128, 256
    config.data.split = "train"  # or "test": the shots held out
    config.data.test_fraction = 0.0  # share of shots held out
    config.data.enlarge = False  # whether videos smaller than height x width are used
    config.data.cuts = True  # whether to look for cuts inside a video
    config.data.cache = config_dict.placeholder(str)  # "memory" or a folder: decode once
    config.data.workers = 8

    config.model = ConfigDict()
    config.model.kind = "video_unet"
    config.model.network = ConfigDict(SIZES["driving"])
    config.model.temporal = ConfigDict(
        {
            "mix": "per_frame",
            "num_frames": 8,
            "mix_logit": 0.0,  # mix = 0.5 at step 0
            "positions": "absolute",
            "max_frame_distance": config_dict.placeholder(int),
        }
    )
    config.model.backbone = config_dict.placeholder(str)  # image model, never changed
    config.model.autoencoder = config_dict.placeholder(str)
    config.model.init = config_dict.placeholder(str)  # temporal layers to start from

    config.diffusion = ConfigDict()
    config.diffusion.schedule = ConfigDict(
        {"kind": "scaled_linear", "beta_start": 0.0015, "beta_end": 0.0195, "num_steps": 1000}
    )
    config.diffusion.zero_terminal_snr = False
    config.diffusion.target = "v"
    config.diffusion.min_snr_gamma = config_dict.placeholder(float)

    config.objective = ConfigDict()
    config.objective.kind = "video"
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
    config.train.batch_size = 36  # clips over all devices
    config.train.total_steps = 60_000
    config.train.rules = (
        ("temporal.*mix", "mix"),
        ("temporal.*(norm|bias)", "plain"),
        ("temporal", "temporal"),
        ("", "frozen"),
    )
    # group: (multiplier of lr, multiplier of weight_decay)
    config.train.groups = ConfigDict(
        {"temporal": (1.0, 1.0), "plain": (1.0, 0.0), "mix": (1.0, 0.0)}
    )
    config.train.ema_decay = 0.9999
    config.train.log_every = 100
    config.train.sample_every = 5000
    config.train.stop_after_minutes = config_dict.placeholder(float)

    config.sampling = ConfigDict()
    config.sampling.solver = ConfigDict({"kind": "ddim", "eta": 0.0})
    config.sampling.grid = ConfigDict({"kind": "uniform"})
    config.sampling.steps = 50
    config.sampling.guidance = 1.5
    config.sampling.num_videos = 8
    config.sampling.batch_size = 8  # videos sampled at once
    config.sampling.labels = ((0.0, 4.0), (1.0, 4.0))  # night, cars; in turn; () for any
    config.sampling.image_only = False  # True: mix := 1, independent frames from the same noise

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
    config.data.fps = 7.5
    config.data.stride = 0.25
    config.data.height, config.data.width = 64, 128
    config.data.cache = "memory"
    config.data.workers = 0
    config.model.network = ConfigDict(SIZES["driving_tiny"])
    config.model.backbone = "asset:driving/image.safetensors"
    config.model.autoencoder = "asset:driving/autoencoder.safetensors"
    config.optim.lr = 1e-3
    config.optim.warmup_steps = 50
    config.train.precision = "float32"
    config.train.batch_size = 4
    config.train.total_steps = 2000
    config.train.ema_decay = 0.99
    config.train.log_every = 20
    config.train.sample_every = 500
    config.sampling.solver = ConfigDict({"kind": "dpmpp_2m"})
    config.sampling.grid = ConfigDict({"kind": "trailing"})
    config.sampling.steps = 16
    config.checkpoint.every = 200
    config.checkpoint.weights_dtype = "float16"
