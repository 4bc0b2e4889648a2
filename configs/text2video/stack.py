"""The text-to-video stack (paper Sec. 4.2; arXiv:2304.08818): 320x512 key frames to 1280x2048.

    vldm sample --config configs/text2video/stack.py --seconds 3.77 --out out

Key frames at 1.875 fps from noise, window after window, two rounds of interpolation by one model to
30 fps, a temporal decoder, and Stable Diffusion's x4 upscaler with temporal layers: 8 key frames
are 113 frames (paper App. H.2). On Stable Diffusion 2.1; weights of runs/text2video/..., as the
configs of its parts train them, on what `vldm convert import` writes of the public checkpoints:
IMAGE, AUTOENCODER, X4 and F4 below. Not run: needs accelerators; the tests build it on shapes.

What a video shows is PROMPT, tokens `context` (1 77 1024) of the checkpoint's text encoder, the
same for all parts; NULL has those of the empty prompt.
"""

from ml_collections import ConfigDict

from vldm_jax.config.base import variant_of
from vldm_jax.config.stack import part, stack_config

FOLDER = "runs/text2video"
TEXT = (
    f"model.null_context={FOLDER}/NULL.safetensors",
    f"sampling.context={FOLDER}/PROMPT.safetensors",
)
ON_SD = (
    f"model.autoencoder={FOLDER}/AUTOENCODER.safetensors",
    f"model.backbone={FOLDER}/IMAGE.safetensors",
)
DECODER = (f"model.init={FOLDER}/AUTOENCODER.safetensors",)
ON_X4 = (
    f"model.autoencoder={FOLDER}/F4.safetensors",
    f"model.backbone={FOLDER}/X4.safetensors",
)
PARTS = {
    "keyframes": ("prediction", "prediction", (*TEXT, *ON_SD)),
    "interpolate": ("interpolation", "interpolation", (*TEXT, *ON_SD)),
    "decode": ("decoder", "decoder", DECODER),
    "upsample": ("upsampler", "video_upsampler", (*TEXT, *ON_X4)),
}


def get_config(variant: str = "full") -> ConfigDict:
    config = stack_config()
    config.seconds = 113 / 30
    for name, (kind, file, overrides) in PARTS.items():
        config.parts[name] = part(
            kind, f"{file}.py", f"{FOLDER}/{file}/weights.safetensors", overrides=overrides,
            rounds=2 if kind == "interpolation" else 1,
        )  # fmt: skip
    return variant_of(config, variant)
