"""Key frames from noise or from the frames before them (paper Sec. 3.2, 4.1; arXiv:2304.08818).

    vldm train    --config configs/driving/prediction.py --workdir runs/driving/prediction \
        --config.model.backbone=runs/driving/image/weights.safetensors \
        --config.model.autoencoder=runs/driving/autoencoder/weights.safetensors
    vldm train    --config configs/driving/prediction.py:tiny --workdir runs/tiny/prediction
    vldm evaluate --workdir runs/tiny/prediction --out figures --config.sampling.given="(0, 1)"

One model: no frame given generates, one or two first frames are continued (S in {0, 1, 2}, drawn
alike). Context frames enter temporal layers alone; the image model stays as it is.
Full: 8 key frames at 30 / 16 fps and 128x256 (the paper trains at 2 and samples at 1.875 fps).
Batch and steps are those of `driving/video`; the reported 402K steps of 3 clips on 256 GPUs may be
the text-to-video model's. Context guidance 2 is chosen: the paper says "s >= 1". Not run.
Tiny: 64x128 on the shipped image model, from the shipped temporal layers; its clips need 4.3 s:
`vldm data build driving --frames 180` (docs/stack.md). That is
`asset:driving/prediction.safetensors`, trained for 7 minutes on a GPU (docs/shipped.md).
"""

from ml_collections import ConfigDict

from vldm_jax.config import driving
from vldm_jax.config.base import variant_of, video_config


def get_config(variant: str = "full") -> ConfigDict:
    config = driving.driving(video_config())
    config.data.fps = 1.875
    config.model.temporal.mix = "per_frame"
    config.model.network.more_conditions = ({"kind": "context_frames", "channels": 4},)
    config.objective.given = ((1.0, ()), (1.0, (0,)), (1.0, (0, 1)))
    config.train.batch_size = 40  # clips
    config.train.total_steps = 60_000
    config.sampling.context_guidance = 2.0
    return variant_of(config, variant, tiny=_tiny)


def _tiny(config: ConfigDict) -> None:
    driving.tiny_video(config)
    config.model.network.more_conditions = ({"kind": "context_frames", "channels": 8},)
    config.model.init = "asset:driving/temporal.safetensors"
    config.optim.schedule = "cosine"
    config.train.total_steps = 3000
    config.train.ema_decay = 0.998
