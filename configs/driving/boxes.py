"""The driving image model that is told boxes (paper Sec. 4.1.2; arXiv:2304.08818): cars in places.

    vldm train  --config configs/driving/boxes.py --workdir runs/driving/boxes \
        --config.data.path=clips --config.model.autoencoder=runs/driving/autoencoder \
        --config.model.init=runs/driving/image
    vldm data build driving --out world --clips 1600 --seed 500000 --frames 8 --fps 1
    vldm train  --config configs/driving/boxes.py:tiny --workdir runs/tiny/boxes \
        --config.data.path=world --config.data.cache=cache
    vldm sample --workdir runs/tiny/boxes --out samples --config.sampling.labels="()" \
        --config.sampling.boxes="((0.25, 0.44, 0.40, 0.61), (0.60, 0.43, 0.72, 0.58))"

A user places cars, the model makes the first frame, and a video model goes on from it, several
times (docs/stack.md). The paper trains on 100k frames with boxes of cars and tells neither how
boxes enter nor for how long: tokens of cross-attention (conditions/boxes.py) and all numbers below
but those of configs/driving/image.py are chosen.
Full: not run, needs accelerators. Tiny: from the shipped `asset:driving/image.safetensors`, which
lacks the layers of boxes; not run to its end: a step takes 1.1 s on two CPU cores, beside other
work.
"""

from ml_collections import ConfigDict

from vldm_jax.config import driving
from vldm_jax.config.base import image_config, variant_of

MOST = 32  # boxes of a frame; of more, the largest
CARS = (
    ((0.25, 0.44, 0.40, 0.61), (0.60, 0.43, 0.72, 0.58)),
    ((0.10, 0.44, 0.32, 0.69),),
    (),
)


def get_config(variant: str = "full") -> ConfigDict:
    config = driving.driving(image_config())
    config.data.kind = "boxes"
    config.data.max_boxes = MOST
    config.model.network.more_conditions = ({"kind": "boxes", "most": MOST},)
    config.train.batch_size = 640  # frames
    config.train.total_steps = 20_000  # from the image model: 128 epochs of 100k frames
    config.sampling.labels = tuple(
        (night, float(len(cars))) for night in (0.0, 1.0) for cars in CARS
    )
    config.sampling.boxes = CARS * 2
    return variant_of(config, variant, tiny=_tiny)


def _tiny(config: ConfigDict) -> None:
    driving.tiny(config)
    config.data.cuts = False  # at a frame a second everything looks like one
    config.model.init = "asset:driving/image.safetensors"
    config.optim.schedule = "cosine"
    config.optim.warmup_steps = 200
    config.train.batch_size = 16
    config.train.total_steps = 3000
    config.train.ema_decay = 0.999
    config.train.log_every = 50
    config.train.sample_every = 1000
    config.checkpoint.every = 500
