"""Video latent diffusion in JAX: an image model, frozen, with temporal layers trained on video.

Implements "Align your Latents: High-Resolution Video Synthesis with Latent Diffusion Models"
(arXiv:2304.08818). See the README for the map of the packages; what a person types is here:

    load, save, export              networks, from public checkpoints or this project's
    insert_temporal                 fresh temporal layers on an image U-Net
    make_sampler, Sampler           loaded networks -> samples
    window_of, roll_out, interpolate    windows that go on from each other, frames between frames
    to_uint8, write_video           frames in [-1, 1] -> bytes; bytes -> an mp4 file
"""

import importlib
from typing import Any

__version__ = "0.1.0"

# Looked up when asked for: importing the package loads neither jax nor anything that reads videos.
_WHERE = {
    "load": "vldm_jax.interop",
    "save": "vldm_jax.interop",
    "export": "vldm_jax.interop",
    "insert_temporal": "vldm_jax.interop",
    "make_sampler": "vldm_jax.samplers",
    "Sampler": "vldm_jax.sampling",
    "window_of": "vldm_jax.stages.told_frames",
    "roll_out": "vldm_jax.sampling.windows",
    "interpolate": "vldm_jax.sampling.windows",
    "to_uint8": "vldm_jax.sampling.maker",
    "write_video": "vldm_jax.data.write",
}

__all__ = ["__version__", *_WHERE]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE])
