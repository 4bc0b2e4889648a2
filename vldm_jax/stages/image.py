"""The image latent diffusion model.

    z0 = s E(x),  x a single frame,   then the denoising loss of `denoising_loss.py`

with each condition of a sample replaced by its null value with probability `objective.p_drop`, for
classifier-free guidance. All of the U-Net is trained; it leaves weights of the kind that
`config.model.kind` names, "unet". Samples of one that is told boxes are shown twice, the second
time with those that were asked for.

Source: Align your Latents, arXiv:2304.08818, Sec. 3.1 and App. H.1 (p_drop = 0.1 for driving).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from vldm_jax.checkpoint.weights import save_weights
from vldm_jax.conditions.box_requests import is_box
from vldm_jax.conditions.boxes import Boxes
from vldm_jax.config.base import image_config
from vldm_jax.core.errors import InputError
from vldm_jax.data.drawing import draw_boxes
from vldm_jax.data.pipeline import Source
from vldm_jax.interop.weights import WeightsFile
from vldm_jax.models import table
from vldm_jax.stages.denoising import DenoisingStage
from vldm_jax.typing import Conditioning, Key, PyTree, UInt8

READABLE = 256  # rows to which frames are enlarged, so that boxes of a few pixels can be seen


class ImageStage(DenoisingStage):
    """Denoising of single frames."""

    base = staticmethod(image_config)
    frames = "image"

    def __init__(self, config: ConfigDict) -> None:
        self.init_kinds = (config.model.kind,)
        if config.data.num_frames != 1:
            raise InputError(
                f"config.data.num_frames={config.data.num_frames}: the image model trains on "
                "single frames, set it to 1"
            )
        super().__init__(config)

    @property
    def leaves(self) -> tuple[str, ...]:
        """The whole network alone."""
        return (self.config.model.kind,)

    def init(self, key: Key) -> PyTree:
        """Return the network's parameters: fresh, or those of `config.model.init`."""
        return {"network": self.started(key)}

    def preview(self, params: PyTree, source: Source, count: int) -> UInt8[np.ndarray, "b t h w 3"]:
        """Return samples of what `config.sampling` asks for, as they are to be shown."""
        frames = super().preview(params, source, count)
        if all(condition.key != Boxes.key for condition in self.asked_for):
            return frames
        return self.pictures(frames, self.request(count, unknown=source.unknown))

    def pictures(
        self, frames: UInt8[np.ndarray, "b t h w 3"], cond: Conditioning
    ) -> UInt8[np.ndarray, "b t2 h2 w2 3"]:
        """Return samples; enlarged, and again with their boxes, if they were asked for some."""
        if Boxes.key not in cond:
            return frames
        scale = max(1, READABLE // frames.shape[2])
        rows = []
        for image, boxes in zip(frames[:, 0], np.asarray(cond[Boxes.key]), strict=True):
            asked = boxes[is_box(boxes)]
            rows.append([draw_boxes(image, of, scale=scale) for of in (asked[:0], asked)])
        return np.array(rows)

    def export(
        self, path: Path, params: PyTree, trained: Sequence[str], steps: int, source: Source
    ) -> None:
        """Write the whole network."""
        meta = {
            "kind": self.config.model.kind,
            "config": table.fields_of(self.network),
            "steps": steps,
        }
        dtype = self.config.checkpoint.weights_dtype
        save_weights(path, params["network"], meta | self.about(source), dtype=dtype)

    def load(self, weights: str) -> tuple[PyTree, dict[str, WeightsFile]]:
        """Return the trained U-Net, with what its space takes."""
        file = self.trained_file(weights, *self.leaves)
        return self.whole(weights, file.read()), self.stands_on(file)
