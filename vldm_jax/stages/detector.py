"""The detector: boxes of cars and the time of day in single frames, for judging samples.

    maps = D(x),   x a frame, a share of them reconstructed or spoilt,   then `detector_loss`

Of a batch, the first `objective.reconstructed` are frames as an autoencoder gives them back, from
latents with a little noise, where `config.model.autoencoder` names one; the next
`objective.spoilt` are blurred, noisy and coarse. Generated frames are of both kinds. A batch is
shuffled, so a frame is now in one part and now in another.

It stands on nothing that it needs later: the autoencoder is for training alone. It leaves weights
of kind "detector", with the names of its attributes (`config.data.labels`).

Source: CenterNet, arXiv:1904.07850.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from vldm_jax.checkpoint.weights import save_weights
from vldm_jax.config.base import detector_config
from vldm_jax.core.errors import InputError
from vldm_jax.core.rng import stream
from vldm_jax.data.drawing import draw_boxes
from vldm_jax.data.pipeline import Source
from vldm_jax.interop.weights import WeightsFile
from vldm_jax.models import table
from vldm_jax.models.detector_maps import decode, encode
from vldm_jax.sampling.maker import to_pixels
from vldm_jax.stages.base import Stage
from vldm_jax.stages.detector_loss import detection_loss, spoil
from vldm_jax.stages.latents import Latents, module_of
from vldm_jax.stages.origin import check_made_for
from vldm_jax.stages.start import start_from
from vldm_jax.training.precision import compute_dtype
from vldm_jax.typing import Array, Float, Int, Key, PyTree, UInt8

KIND = "detector"
UNSURE = 0.25  # standard deviation of the noise on latents, at most; theirs is 1
ENLARGED = 4  # previews, so that boxes of a few pixels can be seen


class DetectorStage(Stage):
    """A detector of boxes and of binary labels."""

    base = staticmethod(detector_config)
    model_keys = ("kind", "network", "autoencoder", "init")
    objective_keys = (
        "size_weight", "offset_weight", "attribute_weight", "reconstructed", "spoilt",
    )  # fmt: skip
    given_names = ("autoencoder",)
    exported = KIND
    needs = ("image", "boxes", "is_box", "labels")
    shown = ("loss", "heat", "size", "attributes")

    def __init__(self, config: ConfigDict) -> None:
        if config.data.num_frames != 1:
            raise InputError(
                f"config.data.num_frames={config.data.num_frames}: the detector trains on single "
                "frames, set it to 1"
            )
        super().__init__(config)
        fields = {**config.model.network.to_dict(), "attributes": len(config.data.labels)}
        dtype = compute_dtype(config.train.precision)
        self.network = table.module_of(config.model.kind, fields, dtype)
        self.weights = {
            key: config.objective[key] for key in self.objective_keys if key.endswith("_weight")
        }
        self.parts = {
            key: round(config.objective[key] * config.train.batch_size)
            for key in ("reconstructed", "spoilt")
        }
        if sum(self.parts.values()) > config.train.batch_size:
            raise InputError(
                "config.objective.reconstructed and spoilt are shares of a batch and make more "
                f"than one together: {self.parts} of {config.train.batch_size} frames"
            )

    @property
    def _image(self) -> jax.ShapeDtypeStruct:
        data = self.config.data
        return jax.ShapeDtypeStruct((1, data.height, data.width, 3), jnp.float32)

    def shapes(self) -> PyTree:
        """Return the shapes of the detector's parameters."""
        return {KIND: table.abstract_params(self.network, self._image)}

    @functools.cached_property
    def files(self) -> dict[str, WeightsFile]:
        """The autoencoder that reconstructs frames, and what training starts from, if any."""
        found = {}
        if self.config.model.autoencoder is not None:
            found["autoencoder"] = self.find("autoencoder", "autoencoder")
            factor = module_of(found["autoencoder"]).factor
            height, width = self.config.data.height, self.config.data.width
            if height % factor or width % factor:
                raise InputError(
                    f"config.data.height and width, {height}x{width}, must be multiples of "
                    f"{factor}, the factor of {found['autoencoder'].path}"
                )
        elif self.parts["reconstructed"]:
            raise InputError(
                f"config.objective.reconstructed={self.config.objective.reconstructed} needs an "
                "autoencoder: give one, --config.model.autoencoder=FILE, or set it to 0.0"
            )
        if self.config.model.init is not None:
            found["init"] = self.find("init", KIND)
            check_made_for(found["init"], self.meaning(), free={"network/threshold"})
        return found

    def meaning(self) -> dict[str, Any]:
        """Return what weights for this stage must have been made for, as their file says it."""
        return {
            "network": table.fields_of(self.network),
            "columns": {"labels": list(self.config.data.labels)},
        }

    def init(self, key: Key) -> PyTree:
        """Return fresh parameters, or those of `config.model.init`."""

        def fresh(keep: Any) -> PyTree:
            where = stream(key, KIND)
            return table.init_params(self.network, where, self._image, keep=keep)

        if "init" in self.files:
            shapes = self.shapes()[KIND]
            return {KIND: start_from(self.files["init"], shapes, fresh, r"(?!)")[0]}
        return {KIND: fresh(lambda path: True)}

    def given(self) -> PyTree:
        """Return the parameters of the autoencoder, if there is one."""
        if "autoencoder" not in self.files:
            return {}
        return {"autoencoder": self.files["autoencoder"].read()}

    def loss(
        self, params: PyTree, batch: dict[str, Any], key: Key, step: int | Int[Array, ""]
    ) -> tuple[Float[Array, ""], dict[str, Any]]:
        """Return the detection loss, see `detector_loss`."""
        x = self._as_generated(params, to_pixels(batch["image"]), key)
        maps = self.network.apply({"params": params[KIND]}, x)
        size = x.shape[1:3]
        target = encode(batch["boxes"], batch["is_box"], size, batch["labels"])
        return detection_loss(maps, target, **self.weights)

    def _as_generated(
        self, params: PyTree, x: Float[Array, "b h w 3"], key: Key
    ) -> Float[Array, "b h w 3"]:
        """Return frames of which some are reconstructed and some are spoilt."""
        share = len(x) / self.config.train.batch_size  # a microbatch has its part
        first, second = (round(self.parts[name] * share) for name in ("reconstructed", "spoilt"))
        some, others, rest = x[:first], x[first : first + second], x[first + second :]
        if first:
            some = self._reconstruct(params["autoencoder"], some, stream(key, "latents"))
        if second:
            others = spoil(others, stream(key, "spoilt"))
        return jax.lax.stop_gradient(jnp.concatenate([some, others, rest]))

    def _reconstruct(
        self, params: PyTree, x: Float[Array, "b h w 3"], key: Key
    ) -> Float[Array, "b h w 3"]:
        module = module_of(self.files["autoencoder"])
        latents = Latents(module)
        mean, _ = module.apply({"params": params}, x, method="encode")
        amount = UNSURE * jax.random.uniform(stream(key, "amount"), (len(x), 1, 1, 1))
        noise = amount * jax.random.normal(stream(key, "noise"), mean.shape)
        return jnp.clip(latents.decode(params, module.latent_scale * mean + noise), -1.0, 1.0)

    @functools.cached_property
    def _detect(self) -> Any:
        def detect(params: PyTree, image: Array) -> Any:
            maps = self.network.apply({"params": params}, to_pixels(image))
            return decode(maps, image.shape[1:3])

        return jax.jit(detect)

    def preview(self, params: PyTree, source: Source, count: int) -> UInt8[np.ndarray, "b t h w 3"]:
        """Return frames of the data, enlarged, with their boxes, and again with those found."""
        picks = np.linspace(0, len(source) - 1, min(count, len(source))).astype(int)
        examples = [source[int(i)] for i in picks]
        images = np.stack([one["image"] for one in examples])
        found = jax.tree.map(np.asarray, self._detect(params[KIND], images))
        rows = []
        for one, boxes, scores in zip(examples, found.boxes, found.scores, strict=True):
            pair = (one["boxes"][one["is_box"]], boxes[scores >= self.network.threshold])
            rows.append([draw_boxes(one["image"], each, scale=ENLARGED) for each in pair])
        return np.array(rows)

    def export(
        self, path: Path, params: PyTree, trained: Sequence[str], steps: int, source: Source
    ) -> None:
        """Write the detector."""
        meaning = self.meaning()
        meta = {"kind": KIND, "config": meaning["network"], "steps": steps}
        dtype = self.config.checkpoint.weights_dtype
        save_weights(path, params[KIND], meta | {"columns": meaning["columns"]}, dtype=dtype)
