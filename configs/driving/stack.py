"""The driving stack (paper Sec. 4.1; arXiv:2304.08818): labels or a first frame to a long video.

    vldm sample --config configs/driving/stack.py --seconds 6 --labels night=0,cars=4 --out out

First frame by the image model, key frames at 1.875 fps by the prediction model, window after
window, two rounds of interpolation by one model to 30 fps, a temporal decoder, and the video
upsampler to four times the height and width.
Full: weights of runs/driving/..., as the configs of its parts train them. Not run.
Tiny: 64x128 to 256x512. Of its parts only the image model ships yet: train the others and give
their files, as `--config.parts.keyframes.weights=...`; `--stages first,keyframes` runs only these.
"""

from ml_collections import ConfigDict

from vldm_jax.config.base import variant_of
from vldm_jax.config.stack import part, stack_config

PARTS = {
    "first": ("image", "image.py", 1),
    "keyframes": ("prediction", "prediction.py", 1),
    "interpolate": ("interpolation", "interpolation.py", 2),
    "decode": ("decoder", "decoder.py", 1),
    "upsample": ("upsampler", "video_upsampler.py", 1),
}


def get_config(variant: str = "full") -> ConfigDict:
    config = stack_config()
    for name, (kind, file, rounds) in PARTS.items():
        stem = file.removesuffix(".py")
        weights = f"runs/driving/{stem}/weights.safetensors"
        config.parts[name] = part(kind, file, weights, rounds=rounds)
    return variant_of(config, variant, tiny=_tiny)


def _tiny(config: ConfigDict) -> None:
    for name, (_, file, _) in PARTS.items():
        stem = file.removesuffix(".py")
        config.parts[name].config = f"{file}:tiny"
        config.parts[name].weights = f"asset:driving/{stem}.safetensors"
