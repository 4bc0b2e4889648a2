"""The video upsampler: temporal layers on the frozen image upsampler, trained on patches of clips.

One time of the diffusion and one of the noise on the low-resolution frames a clip, noise of their
own for each frame (`upsampling.py`); temporal layers as of every video model (`temporal.py`), and
nothing of prediction or interpolation. Used in chunks of 8 frames (`sampling/upsampler.py`), which
need a scalar mix a layer: a frame has no place of its own in a long video.

With `config.sampling.image_only` it is the image upsampler, frame by frame from the same noise.

Source: Align your Latents, arXiv:2304.08818, Sec. 3.4 and App. H.
"""

from ml_collections import ConfigDict

from vldm_jax.config.base import video_upsampler_config
from vldm_jax.core.errors import InputError
from vldm_jax.stages.temporal import TemporalStage
from vldm_jax.stages.upsampling import UpsamplingStage


class VideoUpsamplerStage(UpsamplingStage, TemporalStage):
    """Upsampling of clips."""

    base = staticmethod(video_upsampler_config)

    def __init__(self, config: ConfigDict) -> None:
        temporal = config.model.temporal
        if "mix" in temporal and temporal.mix != "scalar":
            raise InputError(
                f"config.model.temporal.mix={temporal.mix!r}: an upsampler works on chunks of any "
                "length, set it to 'scalar'"
            )
        super().__init__(config)
