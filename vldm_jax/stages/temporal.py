"""Temporal layers on a frozen image model: what the stages of clips share.

The spatial layers see the frames as a batch of images and stay as they are (the rule list freezes
them); the gradient reaches the temporal layers and their mix with the spatial ones. With
`config.model.backbone = "fresh"` there is no image model, and everything is learned from clips: the
paper's end-to-end baseline (Table 1).

What was trained decides what is left: the temporal layers alone (kind "temporal", which names its
backbone), or, if the rules train any spatial path, the whole network (kind "video_unet").

Source: Align your Latents, arXiv:2304.08818, Sec. 3.1.1.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from vldm_jax.checkpoint.weights import check_backbone, save_weights
from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.data.pipeline import Source
from vldm_jax.interop.weights import WeightsFile
from vldm_jax.models import table
from vldm_jax.models.table import TEMPORAL
from vldm_jax.nn.mixer import mixes
from vldm_jax.stages.denoising import DenoisingStage
from vldm_jax.stages.origin import check_made_for
from vldm_jax.training.state import split_params
from vldm_jax.typing import Array, Conditioning, Float, Int, Key, PyTree

WHOLE = "video_unet"
MAPS = r"temporal_maps_|/conv1_maps/"
FRESH = "fresh"  # in the place of a backbone


class TemporalStage(DenoisingStage):
    """Denoising of clips by temporal layers on an image model."""

    model_keys = (*DenoisingStage.model_keys, "temporal", "backbone")
    frames = "video"
    init_kinds = leaves = (TEMPORAL, WHOLE)
    init_free = DenoisingStage.init_free | {"fps"}  # layers may be tuned to another rate
    # A mix a frame has another shape for another number of frames.
    # Kernels of maps are added to layers from before them.
    new_layers = f"{DenoisingStage.new_layers}|{TEMPORAL}.*mixer/logit|{MAPS}"

    def __init__(self, config: ConfigDict) -> None:
        if config.data.num_frames == 1:
            raise InputError(
                "config.data.num_frames=1: temporal layers are trained on clips, set it to at "
                "least 2"
            )
        super().__init__(config)

    def fields(self, config: ConfigDict) -> dict[str, Any]:
        """Return the network's fields; a mix a frame has the clips' number of frames."""
        temporal = config.model.temporal.to_dict()
        frames = config.data.num_frames
        if temporal.get("mix") == "per_frame":
            if temporal.setdefault("num_frames", frames) != frames:
                raise InputError(
                    f"config.model.temporal.num_frames={temporal['num_frames']} is not "
                    f"config.data.num_frames={frames}: leave the former out, it follows the latter"
                )
        return {**super().fields(config), TEMPORAL: temporal}

    @functools.cached_property
    def files(self) -> dict[str, WeightsFile]:
        """Autoencoder, backbone, and the layers that training starts from."""
        found = dict(super().files)
        if self.config.model.backbone == FRESH:
            self._check_all_trained()
        elif not self._starts_whole(found) or self.config.model.backbone is not None:
            found["backbone"] = self.backbone
        return found

    def _check_all_trained(self) -> None:
        _, frozen = split_params(self.shapes(), self.config.train.rules)
        if frozen:
            raise InputError(
                f"config.model.backbone={FRESH!r} and config.train.rules freezes "
                f"{next(iter(paths.flatten(frozen)))}: layers that start at random must be "
                "trained; give an image model, or rules that freeze nothing of the network"
            )

    @functools.cached_property
    def backbone(self) -> WeightsFile:
        """The image model's file; raises if it means another network or other latents."""
        file = self.find("backbone", "unet")
        check_made_for(file, super().meaning())
        self.space.check(file)
        return file

    @staticmethod
    def _starts_whole(files: Mapping[str, WeightsFile]) -> bool:
        return "init" in files and files["init"].meta["kind"] == WHOLE

    def meaning(self) -> dict[str, Any]:
        """As of every denoising stage; and temporal layers know one frame rate."""
        return {**super().meaning(), "fps": float(self.config.data.fps)}

    def init(self, key: Key) -> PyTree:
        """Return the backbone's parameters, and temporal layers: fresh, or those of `init`.

        Without a backbone, all are fresh, or a whole network's.
        """
        if "backbone" not in self.files or self._starts_whole(self.files):
            return {"network": self.started(key)}
        spatial = self._backbone()
        layers = self.started(key, part=lambda path: TEMPORAL in path)
        return {"network": paths.merge(spatial, layers)}

    def _backbone(self) -> PyTree:
        file = self.backbone
        params = file.read()
        paths.check_fits(file.path, params, table.spatial_part(self.shapes()["network"]))
        return params

    def loss(
        self, params: PyTree, batch: dict[str, Any], key: Key, step: int | Int[Array, ""]
    ) -> tuple[Float[Array, ""], dict[str, Any]]:
        """Return the denoising loss, and the mixes among the metrics if there are any."""
        loss, metrics = super().loss(params, batch, key, step)
        return loss, metrics | summarise(mixes(params["network"]))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (t h w c) of one sample in the space."""
        return (self.config.data.num_frames, *super().shape)

    def fixed(self, shape: tuple[Any, ...]) -> Conditioning:
        """Return whether mix := 1, as `config.sampling` says."""
        return {"image_only": jnp.full(shape, self.config.sampling.image_only)}

    def exports(self, path: str, trained: Sequence[str]) -> bool:
        """Return whether a parameter is written: only temporal ones where a backbone has the rest.

        The rest is not a backbone's where training started from a whole network, or trains it.
        """
        return self._leaves_whole(trained) or TEMPORAL in path

    def _leaves_whole(self, trained: Sequence[str]) -> bool:
        return self._starts_whole(self.files) or any(TEMPORAL not in name for name in trained)

    def export(
        self, path: Path, params: PyTree, trained: Sequence[str], steps: int, source: Source
    ) -> None:
        """Write the temporal layers; the whole network if the rest of it is not a backbone's."""
        whole = self._leaves_whole(trained)
        kind = WHOLE if whole else TEMPORAL
        meta = {"kind": kind, "config": table.fields_of(self.network), "steps": steps}
        if "backbone" in self.files:
            backbone = self.files["backbone"]
            record = {"name": backbone.file.name, "sha256": backbone.sha256}
            meta["started_from" if whole else "backbone"] = record
        layers = params["network"] if whole else table.temporal_part(params["network"])
        dtype = self.config.checkpoint.weights_dtype
        save_weights(path, layers, meta | self.about(source), dtype=dtype)

    def stands_on(self, weights: WeightsFile) -> dict[str, WeightsFile]:
        """As of every denoising stage; and temporal layers' image model."""
        files = super().stands_on(weights)
        return files if weights.meta["kind"] == WHOLE else {**files, "backbone": self.backbone}

    def trained_file(self, weights: str, *kinds: str) -> WeightsFile:
        """As of every denoising stage; temporal layers are compared with their image model, too."""
        file = super().trained_file(weights, *kinds)
        if file.meta["kind"] != WHOLE:
            check_backbone(weights, file.meta, self.backbone.path, self.backbone.sha256)
        return file

    def load(self, weights: str) -> tuple[PyTree, dict[str, WeightsFile]]:
        """Return temporal layers on their backbone, or a whole network, with its space's."""
        file = self.trained_file(weights, *self.leaves)
        network = file.read()
        if file.meta["kind"] != WHOLE:
            network = paths.merge(self._backbone(), network)
        return self.whole(weights, network), self.stands_on(file)


def summarise(mixes: dict[str, Any]) -> dict[str, Any]:
    """Return mix_mean, mix_min and mix_max over all layers (1: image model, 0: temporal only).

    A family of temporal layers without mixes has no such metrics.
    """
    if not mixes:
        return {}
    values = jnp.concatenate([jnp.ravel(mix).astype(jnp.float32) for mix in mixes.values()])
    values = jax.lax.stop_gradient(values)
    return {
        "mix_mean": jnp.mean(values),
        "mix_min": jnp.min(values),
        "mix_max": jnp.max(values),
    }
