"""Temporal layers on Stable Diffusion 2.1 (paper Sec. 4.2, App. H.2; arXiv:2304.08818).

    vldm train --config configs/text2video/video.py --workdir runs/text2video/video \
        --config.data.path=VIDEOS --config.model.backbone=IMAGE.safetensors \
        --config.model.autoencoder=AUTOENCODER.safetensors \
        --config.model.null_context=NULL.safetensors

656M temporal layers on the frozen, frame-tuned 2.1 U-Net: 8 key frames at about 2 fps and 320x512,
text in spatial and temporal cross-attention, a scalar mix a layer and relative positions (App. D:
both let it run on longer sequences), epsilon target. 402K steps of 3 clips on 256 A100-80GB (as
reported second-hand).

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
    config.data.fps = 1.875  # key frames: 30 / 16
    config.data.num_frames = 8
    config.data.stride = 1.0  # frames between the starts of two windows
    config.data.height, config.data.width = 320, 512
    config.data.split = "train"  # or "test": the shots held out
    config.data.test_fraction = 0.0  # share of shots held out
    config.data.enlarge = False  # whether videos smaller than height x width are used
    config.data.cuts = True  # whether to look for cuts inside a video
    config.data.cache = config_dict.placeholder(str)  # "memory" or a folder: decode once
    config.data.workers = 8

    config.model = ConfigDict()
    config.model.kind = "video_unet"
    config.model.network = ConfigDict(SIZES["sd21"])
    config.model.temporal = ConfigDict(
        {
            "mix": "scalar",
            "num_frames": config_dict.placeholder(int),  # a scalar mix has no length
            "mix_logit": 0.0,  # mix = 0.5 at step 0
            "positions": "relative",
            "max_frame_distance": config_dict.placeholder(int),
        }
    )
    config.model.backbone = config_dict.placeholder(str)  # image model, never changed
    config.model.autoencoder = config_dict.placeholder(str)
    config.model.init = config_dict.placeholder(str)  # temporal layers to start from
    config.model.null_context = config_dict.placeholder(str)  # safetensors: "context" (1 77 1024)

    config.diffusion = ConfigDict()
    config.diffusion.schedule = ConfigDict(
        {"kind": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "num_steps": 1000}
    )
    config.diffusion.zero_terminal_snr = False
    config.diffusion.target = "epsilon"  # as the 512-pixel base models
    config.diffusion.min_snr_gamma = config_dict.placeholder(float)

    config.objective = ConfigDict()
    config.objective.kind = "video"
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
    config.train.batch_size = 768  # clips over all devices
    config.train.total_steps = 402_000
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
    config.sampling.guidance = 7.5
    config.sampling.context = config_dict.placeholder(str)  # safetensors: "context" (b 77 1024)
    config.sampling.num_videos = 8
    config.sampling.batch_size = 8  # videos sampled at once
    config.sampling.image_only = False  # True: mix := 1, independent frames from the same noise

    config.checkpoint = ConfigDict()
    config.checkpoint.every = 1000
    config.checkpoint.keep = 3
    config.checkpoint.weights_dtype = "float32"  # of weights.safetensors, written at the end

    if variant != "full":
        raise ValueError(f"unknown variant {variant!r}: full")
    return config
