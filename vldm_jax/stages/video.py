"""Temporal alignment: temporal layers are inserted into a frozen image model and trained on clips.

    z0[t] = s E(x[t])  for each frame of a clip, stop-gradient                                (1)
    one time a clip, independent noise a frame, then the loss of `denoising_loss.py`          (2)

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
import numpy as np
from ml_collections import ConfigDict

from vldm_jax.checkpoint.weights import check_backbone, save_weights
from vldm_jax.conditions.context_frames import ContextFrames
from vldm_jax.conditions.context_noise import ContextNoise
from vldm_jax.conditions.frame_rate import FrameRate
from vldm_jax.config.base import video_config
from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.data.pipeline import Source
from vldm_jax.interop.weights import WeightsFile
from vldm_jax.models import table
from vldm_jax.models.table import TEMPORAL
from vldm_jax.nn.mixer import mixes
from vldm_jax.sampling.sampler import Guidance, Tell, as_asked
from vldm_jax.stages.denoising import DenoisingStage
from vldm_jax.stages.given_frames import GivenFrames, given_frames
from vldm_jax.stages.origin import check_made_for
from vldm_jax.stages.told_frames import PIXELS, ToldFrames, check_given
from vldm_jax.training.state import split_params
from vldm_jax.typing import Array, Conditioning, Float, Int, Key, PyTree

WHOLE = "video_unet"
MAPS = r"temporal_maps_|/conv1_maps/"
FRESH = "fresh"  # in the place of a backbone


class VideoStage(DenoisingStage):
    """Denoising of clips by temporal layers on an image model."""

    base = staticmethod(video_config)
    model_keys = (*DenoisingStage.model_keys, "temporal", "backbone")
    objective_keys = (*DenoisingStage.objective_keys, "given", "given_noise")
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
        self.given_frames, self.rates = self._given_frames(), self._rates()
        check_given(
            config.sampling.given, config.sampling.given_noise, config.data.num_frames,
            self.diffusion.schedule.num_steps, self.given_frames is not None,
        )  # fmt: skip

    def _given_frames(self) -> GivenFrames | None:
        """Return what frames clips are given; None for a network that takes none."""
        objective, known = self.config.objective, {ContextFrames.key, ContextNoise.key}
        taken = known & {c.key for c in self.conditions}
        if not taken and not objective.given:
            return None
        wanted = {ContextFrames.key} | ({ContextNoise.key} if objective.given_noise else set())
        if not objective.given or taken != wanted:
            raise InputError(
                f"config.objective.given={objective.given} and given_noise="
                f"{objective.given_noise}, but the network takes {', '.join(sorted(taken)) or None}"
                " of a clip: give patterns to a network with {'kind': 'context_frames', 'channels':"
                " C} in config.model.network.more_conditions and, where there is noise, {'kind': "
                "'context_noise'}, and to no other"
            )
        return given_frames(
            objective.given, objective.given_noise, self.config.data.num_frames,
            self.diffusion.schedule.num_steps,
        )  # fmt: skip

    def _rates(self) -> tuple[float, ...]:
        """Return the frame rates that the network tells apart; () if it knows one."""
        data = self.config.data
        known = [c.rates for c in self.conditions if isinstance(c, FrameRate)]
        wanted = {float(rate) for rate in (data.fps, *data.more_fps)}
        told = set(known[0]) if known else {float(data.fps)}
        if not wanted <= told:
            raise InputError(
                f"config.data.fps={data.fps} and more_fps={data.more_fps}, but the network "
                + (f"knows {known[0]} fps" if known else "is not told the rate")
                + ": give these rates to a network with {'kind': 'frame_rate', 'rates': (...)} in "
                "config.model.network.more_conditions"
            )
        return known[0] if known else ()

    def of_clip(
        self, batch: dict[str, Any], z: Float[Array, "b *t h w c"], key: Key
    ) -> Conditioning:
        """Return the frames that each clip is given, and its rate if the network is told it."""
        told = {FrameRate.key: batch[FrameRate.key]} if self.rates else {}
        if self.given_frames is not None:
            told |= self.given_frames.told(z, self.diffusion.schedule, key)
        return told

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
        """As of every denoising stage; and temporal layers know a frame rate, or are told it."""
        rate = {} if self.rates else {"fps": float(self.config.data.fps)}
        return {**super().meaning(), **rate}

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

    @property
    def guidance(self) -> tuple[Guidance, ...]:
        """As of every denoising stage; and context guidance, paper Eq. 4."""
        context = Guidance((ContextFrames.key,), self.config.sampling.context_guidance)
        return (*super().guidance, context)

    @property
    def tell(self) -> Tell:
        """What a network with context frames is told of them."""
        if self.given_frames is None:
            return as_asked
        sampling, space = self.config.sampling, self.space

        def encode(params: PyTree, video: Array, keys: Key) -> Array:
            def one(frames: Array, key: Key) -> Array:
                return space.encode(params, {"video": frames[None]}, "video", key)[0]

            return jax.vmap(one)(video, keys)

        return ToldFrames(
            given=sampling.given,
            noise=sampling.given_noise,
            tells_noise=any(c.key == ContextNoise.key for c in self.conditions),
            schedule=self.diffusion.schedule,
            encode=encode,
        )

    @property
    def conditioning_frames(self) -> int:
        """Number of frames of a real clip that a sample which is to be like it is given."""
        return len(self.config.sampling.given)

    def asked_of(
        self, examples: Sequence[Mapping[str, Any]], unknown: Mapping[str, Sequence[str]]
    ) -> Conditioning:
        """As of every denoising stage; and the pixels that `config.sampling.given` gives."""
        asked = super().asked_of(examples, unknown)
        if not self.config.sampling.given:
            return asked
        return {**asked, PIXELS: np.stack([one[self.frames] for one in examples])}

    def fixed(self, shape: tuple[Any, ...]) -> Conditioning:
        """Return whether mix := 1, as `config.sampling` says, and the rate if it is told."""
        rate = {FrameRate.key: np.full(shape, self.config.data.fps, np.float32)}
        return {
            "image_only": jnp.full(shape, self.config.sampling.image_only),
            **(rate if self.rates else {}),
        }

    @property
    def needs(self) -> tuple[str, ...]:
        """As of every denoising stage; and the rate if the network is told it."""
        return (*super().needs, *((FrameRate.key,) if self.rates else ()))

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

    def load(self, weights: str) -> tuple[PyTree, dict[str, WeightsFile]]:
        """Return temporal layers on their backbone, or a whole network, with its space's."""
        file = self.trained_file(weights, *self.leaves)
        files = {**self.space.files, "weights": file}
        if file.meta["kind"] == WHOLE:
            return self.whole(weights, file.read()), files
        backbone = self.backbone
        check_backbone(weights, file.meta, backbone.path, backbone.sha256)
        network = paths.merge(self._backbone(), file.read())
        return self.whole(weights, network), {**files, "backbone": backbone}


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
