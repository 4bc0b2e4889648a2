"""Public checkpoints in and out: diffusers, transformers, the original code, AnimateDiff.

unet = load("stable-diffusion-2-1", "unet")
video = insert_temporal(unet)
export(video, "out")                               # for diffusers' from_pretrained
"""

from vldm_jax.interop.load import Pipeline, load
from vldm_jax.interop.save import export, save
from vldm_jax.models.network import Network, insert_temporal, temporal_layers

__all__ = ["Network", "Pipeline", "export", "insert_temporal", "load", "save", "temporal_layers"]
