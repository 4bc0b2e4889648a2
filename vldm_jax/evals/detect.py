"""What a detector sees in clips: how many cars, and whether it is night.

The detector of the driving world (`asset:driving/detector.safetensors`, `stages.detector`) looks at
single frames. Its count of a frame is the number of boxes with a score of at least the detector's
threshold, as the world counts what is visible in it; of a clip the mean over its frames, rounded,
as the world's label "cars" is made. It knows that world alone: of real footage it says nothing.

Frames are brought to the 64 rows that it was trained on, their aspect kept.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.evals.resize import resize
from vldm_jax.interop.weights import find_weights
from vldm_jax.models import table
from vldm_jax.models.detector import Detector
from vldm_jax.models.detector_maps import Detections, decode
from vldm_jax.typing import Array, Float, PyTree, UInt8

SHIPPED = "asset:driving/detector.safetensors"
ROWS = 64  # of the frames that it was trained on
COLUMNS = CARS, NIGHT = "cars", "night"  # of the numbers of a frame


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Judge:
    """A trained detector.

    Attributes:
        module: its network.
        params: of the network.
        attributes: names of the attributes of a frame that it tells.
        sha256: of its file.
    """

    module: Detector
    params: PyTree
    attributes: tuple[str, ...]
    sha256: str

    @property
    def detect(self) -> Callable[..., tuple[Detections, Float[Array, "n k"]]]:
        """(params, frames (n h w 3) uint8) -> boxes, and probabilities of the attributes."""
        return lambda params, frames: _detect(self.module, params, frames)

    def numbers(
        self, params: PyTree, video: UInt8[Array, "b t h w 3"]
    ) -> Float[Array, "b t columns"]:
        """Return of each frame the number of cars and the probability that it is night."""

        def of_clip(frames: UInt8[Array, "t h w 3"]) -> Float[Array, "t columns"]:
            found, attributes = self.detect(params, frames)
            cars = (found.scores >= self.module.threshold).sum(1).astype(jnp.float32)
            return jnp.stack([cars, attributes[:, self.attributes.index(NIGHT)]], axis=-1)

        return jax.lax.map(of_clip, video)

    def boxes(self, params: PyTree, video: UInt8[Array, "b t h w 3"]) -> Float[Array, "b t k 4"]:
        """Return the boxes of each frame, x0 y0 x1 y1 in [0, 1]; zeros for those that are none."""

        def of_clip(frames: UInt8[Array, "t h w 3"]) -> Float[Array, "t k 4"]:
            found, _ = self.detect(params, frames)
            sure = found.scores >= self.module.threshold
            return jnp.where(sure[..., None], found.boxes, 0.0)

        return jax.lax.map(of_clip, video)


def load_judge(weights: Path | str | None, flag: str = "detector") -> Judge:
    """Return the detector of a weights file; None for the shipped one.

    Args:
        weights: the file.
        flag: name by which `--network` gives it, for messages.

    Raises:
        InputError: if there is none, or it does not tell night.
    """
    file = find_weights(str(weights or SHIPPED), ("detector",), f"--network {flag}")
    module = table.module_of("detector", file.meta["config"], jnp.float32)
    attributes = tuple(file.meta["columns"]["labels"])
    if NIGHT not in attributes:
        raise InputError(
            f"{file.path} tells {', '.join(attributes) or 'no attribute'}, not {NIGHT!r}: give a "
            f"detector that was trained with it, --network {flag}=FILE"
        )
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), file.read())
    return Judge(module=module, params=params, attributes=attributes, sha256=file.sha256)


def _detect(
    module: Detector, params: PyTree, frames: UInt8[Array, "n h w 3"]
) -> tuple[Detections, Float[Array, "n k"]]:
    x = frames.astype(jnp.float32) / 127.5 - 1.0
    height, width = x.shape[1:3]
    if height != ROWS:
        x = resize(x, (ROWS, max(1, round(width * ROWS / height))), "bicubic")
    maps = module.apply({"params": params}, x)
    return decode(maps, x.shape[1:3]), jax.nn.sigmoid(maps.attributes)
