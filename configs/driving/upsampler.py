"""The driving image upsampler (paper Sec. 3.4, App. H; arXiv:2304.08818): 128x256 to 512x1024.

    vldm train    --config configs/driving/upsampler.py --workdir runs/driving/upsampler \
        --config.data.path=VIDEOS
    vldm train    --config configs/driving/upsampler.py:tiny --workdir runs/tiny/upsampler \
        --config.data.path=CLIPS
    vldm evaluate --workdir runs/tiny/upsampler --figures psnr,ssim,lpips --out figures

Full: a U-Net of pixels, trained on frames at 1 fps; v target, 84K steps, lr 1e-5, 4 patches a GPU
on 8 A100-80GB (second-hand). Patches of 320 pixels: "80x80" is told second-hand, here read as the
low-resolution side, as for text to video. Chosen, not told: the size (160 channels, multiples 1, 2,
2, 4, as latent diffusion's super-resolution model, without its attention), the noise schedule and
noise up to 350 on the low-resolution frames (as Stable Diffusion's x4 upscaler). Not run: needs
accelerators.
Tiny: 64x128 to 256x512, of what bicubic lacks (SRDiff, arXiv:2104.14951), in blocks of 4x4 pixels,
which two CPU cores can sample: CLIPS are of `vldm data build driving --size 256x512`.
"""

from ml_collections import ConfigDict

from vldm_jax.config.base import upsampler_config, variant_of
from vldm_jax.models.unet_sizes import SIZES


def get_config(variant: str = "full") -> ConfigDict:
    config = upsampler_config()
    config.data.height, config.data.width = 512, 1024
    config.model.autoencoder = "pixels"
    config.model.network.update(SIZES["driving_upsampler"])
    config.objective.patch = 320
    config.optim.lr = 1e-5
    config.train.batch_size = 32  # patches
    config.train.total_steps = 84_000
    return variant_of(config, variant, tiny=_tiny)


def _tiny(config: ConfigDict) -> None:
    config.data.fps = 7.5
    config.data.height, config.data.width = 256, 512
    config.data.cache = "memory"
    config.data.workers = 0
    config.model.autoencoder = "residual/4"
    config.model.network.update(SIZES["driving_upsampler_tiny"])
    config.objective.patch = 96
    config.optim.lr = 1e-3
    config.optim.schedule = "cosine"
    config.optim.warmup_steps = 100
    config.train.precision = "float32"
    config.train.batch_size = 16
    config.train.total_steps = 4000
    config.train.ema_decay = 0.998
    config.train.log_every = 50
    config.train.sample_every = 1000
    config.sampling.solver = ConfigDict({"kind": "dpmpp_2m"})
    config.sampling.grid = ConfigDict({"kind": "trailing"})
    config.sampling.steps = 4
    config.sampling.num_videos = config.sampling.batch_size = 4
    config.checkpoint.every = 200
    config.checkpoint.weights_dtype = "float16"
