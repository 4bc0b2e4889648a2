"""The image upsampler: frames of four times the height and width, each by itself.

Trained on patches of single frames (`upsampling.py`); all of the U-Net is trained. It leaves
weights of the kind "unet", which the video upsampler stands on.

Source: Align your Latents, arXiv:2304.08818, Sec. 3.4 and App. H.
"""

from typing import Any

from einops import rearrange, repeat

from vldm_jax.config.base import upsampler_config
from vldm_jax.stages.image import ImageStage
from vldm_jax.stages.upsampling import UpsamplingStage
from vldm_jax.typing import Array, Conditioning, PyTree


class UpsamplerStage(UpsamplingStage, ImageStage):
    """Upsampling of single frames."""

    base = staticmethod(upsampler_config)

    def of_video(self, network: Any) -> Any:
        """Return the network of images on all frames of videos."""

        def frame_by_frame(params: PyTree, z: Array, time: Array, cond: Conditioning) -> Array:
            frames = z.shape[1]
            told = {key: repeat(value, "b ... -> (b t) ...", t=frames) for key, value in
                    cond.items() if key != "concat"}  # fmt: skip
            told["concat"] = rearrange(cond["concat"], "b t h w c -> (b t) h w c")
            images = rearrange(z, "b t h w c -> (b t) h w c")
            out = network(params, images, repeat(time, "b -> (b t)", t=frames), told)
            return rearrange(out, "(b t) h w c -> b t h w c", t=frames)

        return frame_by_frame
