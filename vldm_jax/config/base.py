"""What all experiments share; a file in `configs/` says what its experiment decides.

    config = base_config()                 every section, and every key that has a usual value
    config = autoencoder_config()          and what the autoencoder's stage has
    config = decoder_config()              and what the temporal decoder's stage has
    config = detector_config()             and what the detector's stage has
    config = denoising_config()            and what a denoising stage has

A number without a comment is of the usual kind: documented where it is used, in `docs/training.md`
and `docs/data.md`. A placeholder is None until it is given.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def base_config() -> ConfigDict:
    """Return the sections that every stage has."""
    config = ConfigDict()
    config.seed = 0

    config.data = ConfigDict()
    config.data.kind = "folder"
    config.data.path = placeholder(str)
    config.data.index = placeholder(str)  # JSON file that remembers the scan
    config.data.labels = ()  # by name, from labels.json; unknown where it lacks them
    config.data.fps = 1.0  # the paper's rate of independent frames
    config.data.more_fps = ()  # further rates, from each as many windows
    config.data.num_frames = 1
    config.data.stride = 1.0  # frames between the starts of two windows
    config.data.height, config.data.width = 128, 256
    config.data.split = "train"  # or "test": the shots held out
    config.data.test_fraction = 0.0  # share of shots held out
    config.data.enlarge = False  # whether videos smaller than height x width are used
    config.data.cuts = True  # whether to look for cuts inside a video
    config.data.cache = placeholder(str)  # "memory" or a folder: decode once
    config.data.workers = 8  # processes; 0: threads of this one

    config.model = ConfigDict()
    config.model.kind = ""
    config.model.network = ConfigDict()
    config.model.init = placeholder(str)  # weights to start from; None: from scratch

    config.objective = ConfigDict()
    config.objective.kind = ""  # the stage

    config.optim = ConfigDict()
    config.optim.name = "adamw"
    config.optim.lr = 1e-4
    config.optim.betas = (0.9, 0.999)
    config.optim.weight_decay = 0.01
    config.optim.clip_norm = 1.0
    config.optim.schedule = "constant"  # or "cosine"
    config.optim.warmup_steps = 10_000
    config.optim.accumulate = 1  # microbatches a step

    config.train = ConfigDict()
    config.train.precision = "bfloat16"  # of the networks' compute; or "float32"
    config.train.batch_size = 1  # over all devices
    config.train.total_steps = 1
    config.train.rules = ()  # (regex of a path, group), the first that is found decides
    config.train.groups = ConfigDict()  # group: (multiplier of lr, multiplier of weight_decay)
    config.train.ema_decay = 0.9999
    config.train.log_every = 100
    config.train.sample_every = 5000
    config.train.evaluate_every = placeholder(int)  # steps; None: never
    config.train.stop_after_minutes = placeholder(float)

    config.sampling = ConfigDict()
    config.sampling.num_videos = 8
    config.sampling.batch_size = 8  # samples at once, over all devices
    config.sampling.decode = ConfigDict()  # sampling/decoding.py
    config.sampling.decode.frames = 16  # of a video, at once; None: all
    config.sampling.decode.overlap = 4  # frames to discard at a joint, of a temporal decoder
    config.sampling.decode.tile = placeholder(tuple)  # (height, width) in latents; None: all
    config.sampling.decode.blend = 4  # latents by which tiles overlap
    config.sampling.decode.split = False  # frames over this process's devices: exact, all at once

    config.evals = ConfigDict()  # of train.evaluate_every
    config.evals.figures = ("fvd", "flicker", "motion")  # evals/figures.py
    config.evals.clips = 64  # samples; real clips are taken twice
    config.evals.keep_best = placeholder(str)  # figure by which WORKDIR/best is kept

    config.checkpoint = ConfigDict()
    config.checkpoint.every = 1000
    config.checkpoint.keep = 3
    config.checkpoint.weights_dtype = "float32"  # of weights.safetensors, written at the end
    return config


def autoencoder_config() -> ConfigDict:
    """Return the base of an image autoencoder, with the losses of latent diffusion."""
    config = base_config()
    config.model.kind = "autoencoder"
    config.model.discriminator = ConfigDict({"base": 64, "layers": 3})
    config.model.perceptual = "vgg16"
    config.objective.kind = "autoencoder"
    config.objective.perceptual_weight = 1.0
    config.objective.kl_weight = 1e-6
    config.objective.disc_weight = 0.5
    config.objective.disc_start = 50_001  # step
    config.train.rules = (
        ("^perceptual/", "frozen"),
        ("^discriminator/", "discriminator"),
        ("^(autoencoder/|logvar)", "autoencoder"),
    )
    config.train.groups = ConfigDict({"discriminator": (1.0, 0.0), "autoencoder": (1.0, 0.0)})
    return config


def decoder_config() -> ConfigDict:
    """Return the base of a temporal decoder on a frozen encoder, with the losses of images."""
    config = autoencoder_config()
    config.data.num_frames = 8
    config.data.fps = 30.0
    config.model.discriminator = ConfigDict({"base": 64, "time_strides": (1, 1, 2)})
    config.objective.kind = "decoder"
    del config.objective.kl_weight
    config.objective.disc_start = 1001  # step
    config.train.rules = (
        ("^(perceptual|encoder)/", "frozen"),
        ("^discriminator/", "discriminator"),
        ("^autoencoder/.*temporal|logvar", "temporal"),
        ("^autoencoder/", "frozen"),
    )
    config.train.groups = ConfigDict({"discriminator": (1.0, 0.0), "temporal": (1.0, 0.0)})
    config.evals.figures = ("fvd", "flicker", "psnr", "lpips")
    return config


def detector_config() -> ConfigDict:
    """Return the base of a detector of boxes and binary labels, which judges samples."""
    config = base_config()
    config.data.kind = "boxes"
    config.model.kind = "detector"
    config.model.autoencoder = placeholder(str)  # reconstructs a share of the frames
    config.objective.kind = "detector"
    config.objective.size_weight = 1.0
    config.objective.offset_weight = 1.0
    config.objective.attribute_weight = 0.5
    config.objective.reconstructed = 0.0  # share of a batch
    config.objective.spoilt = 0.25  # share of a batch
    config.train.rules = (
        ("^autoencoder/", "frozen"),
        ("(norm|bias)", "plain"),
        ("^detector/", "detector"),
    )
    config.train.groups = ConfigDict({"detector": (1.0, 1.0), "plain": (1.0, 0.0)})
    return config


def denoising_config() -> ConfigDict:
    """Return the base of a stage that denoises latents, on Stable Diffusion's noise schedule."""
    config = base_config()
    config.model.network.remat = False  # recompute layers in the backward pass: less memory
    config.model.autoencoder = placeholder(str)  # or "pixels", "pixels/4", "residual/4"

    config.diffusion = ConfigDict()
    config.diffusion.schedule = ConfigDict(
        {"kind": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "num_steps": 1000}
    )
    config.diffusion.zero_terminal_snr = False
    config.diffusion.target = "epsilon"
    config.diffusion.min_snr_gamma = placeholder(float)

    config.objective.p_drop = 0.1  # of each condition, for guidance

    config.sampling.solver = ConfigDict({"kind": "ddim", "eta": 0.0})
    config.sampling.grid = ConfigDict({"kind": "uniform"})
    config.sampling.steps = 50
    config.sampling.guidance = 1.0
    return config


def image_config() -> ConfigDict:
    """Return the base of an image model: the whole U-Net is trained, on single frames."""
    config = denoising_config()
    config.model.kind = "unet"
    config.objective.kind = "image"
    config.train.rules = (
        ("^autoencoder/", "frozen"),
        ("^network/.*(norm|bias)", "plain"),
        ("^network/", "network"),
    )
    config.train.groups = ConfigDict({"network": (1.0, 1.0), "plain": (1.0, 0.0)})
    config.sampling.num_videos = config.sampling.batch_size = 16  # images
    config.evals.figures = ("frechet_lite0",)  # of single frames
    return config


def video_config() -> ConfigDict:
    """Return the base of temporal layers on a frozen image model."""
    config = denoising_config()
    config.model.kind = "video_unet"
    config.model.temporal = ConfigDict()
    config.model.temporal.mix = "scalar"  # or "per_frame", one each of data.num_frames
    config.model.temporal.mix_logit = 0.0  # mix = 0.5 at step 0
    config.model.temporal.positions = "absolute"  # or "relative"
    config.model.temporal.max_frame_distance = placeholder(int)
    config.model.temporal.norms = "joint"  # or "per_frame", for clips far longer than trained
    config.model.temporal.convolutions = True  # False: attention over frames alone
    config.model.backbone = placeholder(str)  # image model, never changed; or "fresh"
    config.data.num_frames = 8
    config.objective.kind = "video"
    config.objective.given = ()  # (weight, frames that are given) of context frames
    config.objective.given_noise = 0  # largest time of noise on them
    config.train.rules = (
        ("temporal.*mix", "mix"),
        ("temporal.*(norm|bias)", "plain"),
        ("temporal", "temporal"),
        ("", "frozen"),
    )
    config.train.groups = ConfigDict(
        {"temporal": (1.0, 1.0), "plain": (1.0, 0.0), "mix": (1.0, 0.0)}
    )
    config.sampling.method = "denoise"  # or "average", "rife": baselines of interpolation
    config.sampling.given = ()  # frames of a real clip that samples are given, in evaluations
    config.sampling.given_noise = 0  # time of the noise on given frames
    config.sampling.context_guidance = 1.0  # away from no frame given (Eq. 4)
    config.sampling.image_only = False  # True: mix := 1, independent frames from the same noise
    return config


def interpolation(config: ConfigDict, channels: int) -> ConfigDict:
    """Return the config of temporal layers as one of interpolation at two rates, 5 frames each.

    Args:
        config: of temporal layers.
        channels: of the latents.
    """
    config.data.fps, config.data.more_fps = 7.5, (30.0,)
    config.data.num_frames = 5
    config.model.network.more_conditions = (
        {"kind": "context_frames", "channels": channels},
        {"kind": "context_noise"},
        {"kind": "frame_rate", "rates": (7.5, 30.0)},
    )
    config.objective.given = ((1.0, (0, 4)),)
    config.objective.given_noise = 250
    config.sampling.given = (0, 4)
    return config


def upsampler_config() -> ConfigDict:
    """Return the base of an image upsampler by 4: the whole U-Net is trained, on patches."""
    config = image_config()
    config.objective.kind = "upsampler"
    _upsample(config)
    config.evals.figures = ("frechet_lite0",)
    return config


def video_upsampler_config() -> ConfigDict:
    """Return the base of temporal layers on a frozen image upsampler, trained on patches."""
    config = video_config()
    config.objective.kind = "video_upsampler"
    for key in ("given", "given_noise"):  # there is no prediction and no interpolation here
        del config.objective[key], config.sampling[key]
    del config.sampling["context_guidance"]
    _upsample(config)
    return config


def _upsample(config: ConfigDict) -> None:
    """Add what both upsamplers have."""
    # Those of Stable Diffusion's x4 upscaler, on which times of noise are of one meaning.
    config.diffusion.schedule.beta_start, config.diffusion.schedule.beta_end = 0.0001, 0.02
    config.diffusion.target = "v"
    config.objective.p_drop = 0.0  # there are no labels; of text 0.1
    config.objective.patch = 256  # pixels of the result, height and width
    config.objective.low_noise = 350  # largest time of noise on the low-resolution frames
    config.sampling.method = "denoise"  # or "bicubic", the baseline
    config.sampling.low = placeholder(str)  # videos to upsample; None: of real clips
    config.sampling.low_noise = 20  # time of noise on low-resolution frames
    config.sampling.chunk = 8  # frames at once
    config.sampling.overlap = 2  # of them, frames that the next chunk has, too
    config.sampling.tile = ()  # pixels of the result that are seen at once; (): all
    config.sampling.num_videos = config.sampling.batch_size = 1


def variant_of(config: ConfigDict, variant: str, **variants) -> ConfigDict:
    """Return the config as "full" or as one of its variants, each a function that changes it.

    Raises:
        ValueError: if there is no such variant.
    """
    if variant != "full":
        if variant not in variants:
            raise ValueError(f"unknown variant {variant!r}: {' or '.join(('full', *variants))}")
        variants[variant](config)
    return config
