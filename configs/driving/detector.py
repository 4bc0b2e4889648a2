"""A detector of cars and of the time of day, which judges samples (`agreement_*` figures).

    vldm data build driving --out clips --clips 1600 --seed 500000 --frames 8 --fps 1
    vldm train --config configs/driving/detector.py --workdir runs/detector --config.data.path=clips
    vldm train --config configs/driving/detector.py:tiny --workdir runs/tiny/detector

Not of the paper: boxes are exact in the rendered world, so what a sample shows can be compared with
what it was asked for. CenterNet (arXiv:1904.07850) on 64x128, 0.33M parameters. Full and tiny
differ in batch and steps alone. Full: not run, needs an accelerator. Tiny: the shipped
`asset:driving/detector.safetensors`, 29 minutes on one of two CPU cores, average precision 0.667 on
the shipped clips (docs/shipped.md).
"""

from ml_collections import ConfigDict

from vldm_jax.config.base import detector_config, variant_of


def get_config(variant: str = "full") -> ConfigDict:
    config = detector_config()
    config.data.path = "asset:driving/clips"
    config.data.labels = ("night",)
    config.data.height, config.data.width = 64, 128
    config.data.fps = 1.0
    config.data.cuts = False  # at a frame a second everything looks like one
    config.model.network = ConfigDict(
        {"widths": (16, 32, 48, 64), "blocks": 2, "head": 24, "norm_groups": 8, "threshold": 0.25}
    )
    config.model.autoencoder = "asset:driving/autoencoder.safetensors"
    config.objective.reconstructed = 0.25  # of a batch: frames as the autoencoder gives them back
    config.objective.spoilt = 0.25  # of a batch: blurred, noisy, coarse
    config.optim.lr = 2e-3
    config.optim.schedule = "cosine"
    config.optim.warmup_steps = 200
    config.train.precision = "float32"
    config.train.batch_size = 128  # frames
    config.train.total_steps = 20_000
    config.train.ema_decay = 0.999
    return variant_of(config, variant, tiny=_tiny)


def _tiny(config: ConfigDict) -> None:
    config.data.cache = "memory"
    config.data.workers = 0
    config.train.batch_size = 16
    config.train.total_steps = 3000
    config.train.ema_decay = 0.998
    config.train.log_every = 50
    config.train.sample_every = 500
    config.checkpoint.every = 250
    config.checkpoint.weights_dtype = "float16"
