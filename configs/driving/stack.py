"""The driving stack (paper Sec. 4.1; arXiv:2304.08818): labels or a first frame to a long video.

    vldm sample --config configs/driving/stack.py --seconds 6 --labels night=0,cars=4 --out out

First frame by the image model, key frames at 1.875 fps by the prediction model, window after
window, two rounds of interpolation by one model to 30 fps, a temporal decoder, and the video
upsampler to four times the height and width.
Full: weights of runs/driving/..., as the configs of its parts train them. Not run.
Tiny: 64x128 on what ships (docs/shipped.md), which a temporal decoder and an upsampler to 256x512
do not yet: `--config.parts.decode.weights=RUN --config.parts.upsample.weights=RUN` bring yours.
"""

from ml_collections import ConfigDict

from vldm_jax.config.base import variant_of
from vldm_jax.config.stack import part, stack_config

FOLDER = "runs/driving"
AUTOENCODER = f"model.autoencoder={FOLDER}/autoencoder/weights.safetensors"
ON_IMAGE = (AUTOENCODER, f"model.backbone={FOLDER}/image/weights.safetensors")
DECODER = (f"model.init={FOLDER}/autoencoder/weights.safetensors",)
UPSAMPLER = (f"model.backbone={FOLDER}/upsampler/weights.safetensors",)
PARTS = {
    "first": ("image", "image", (AUTOENCODER,)),
    "keyframes": ("prediction", "prediction", ON_IMAGE),
    "interpolate": ("interpolation", "interpolation", ON_IMAGE),
    "decode": ("decoder", "decoder", DECODER),
    "upsample": ("upsampler", "video_upsampler", UPSAMPLER),
}


def get_config(variant: str = "full") -> ConfigDict:
    config = stack_config()
    for name, (kind, file, overrides) in PARTS.items():
        config.parts[name] = part(
            kind, f"{file}.py", f"{FOLDER}/{file}/weights.safetensors", overrides=overrides,
            rounds=2 if kind == "interpolation" else 1,
        )  # fmt: skip
    return variant_of(config, variant, tiny=_tiny)


def _tiny(config: ConfigDict) -> None:
    for name, (_, file, _) in PARTS.items():
        config.parts[name].config = f"{file}.py:tiny"
        config.parts[name].weights = f"asset:driving/{file}.safetensors"
        config.parts[name].overrides = ()
    for name in ("decode", "upsample"):  # do not ship: left out until there are weights
        config.parts[name].weights = ""
