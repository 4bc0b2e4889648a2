"""The image latent diffusion model.

    z0 = s E(x),  x a single frame,   then the denoising loss of `denoising_loss.py`

with each condition of a sample replaced by its null value with probability `objective.p_drop`, for
classifier-free guidance. All of the U-Net is trained; it leaves weights of the kind that
`config.model.kind` names, "unet".

Source: Align your Latents, arXiv:2304.08818, Sec. 3.1 and App. H.1 (p_drop = 0.1 for driving).
"""

from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from vldm_jax.checkpoint.weights import save_weights
from vldm_jax.config.base import image_config
from vldm_jax.core.errors import InputError
from vldm_jax.data.pipeline import Source
from vldm_jax.interop.weights import WeightsFile
from vldm_jax.models import table
from vldm_jax.stages.denoising import DenoisingStage
from vldm_jax.typing import Key, PyTree


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
        files = {**self.space.files, "weights": file}
        return self.whole(weights, file.read()), files
