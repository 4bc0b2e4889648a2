"""What stages that learn to reconstruct frames share: networks, loss, what is made of real clips.

A subclass says which frames, by which discriminator, and what of the autoencoder is trained. A
sample of such a stage is a real clip that went through the autoencoder, so figures of pairs (PSNR,
LPIPS) can be had of it beside those of distributions.
"""

import abc
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from vldm_jax.core.fields import make
from vldm_jax.core.rng import stream
from vldm_jax.data.pipeline import Source
from vldm_jax.interop.weights import WeightsFile
from vldm_jax.models import table
from vldm_jax.models.perceptual import LPIPS
from vldm_jax.models.perceptual_weights import find_lpips_weights, load_lpips_weights
from vldm_jax.sampling.maker import to_pixels
from vldm_jax.sampling.reconstruct import FRAMES, Reconstructor
from vldm_jax.stages.base import Stage
from vldm_jax.stages.latents import Latents, parts_of
from vldm_jax.stages.origin import check_made_for
from vldm_jax.stages.reconstruction_loss import ReconstructionLoss
from vldm_jax.stages.start import start_from
from vldm_jax.training.precision import compute_dtype
from vldm_jax.typing import Array, Conditioning, Float, Int, Key, PyTree, UInt8

KIND = "autoencoder"
_SCALAR = jax.ShapeDtypeStruct((), jnp.float32)


class ReconstructingStage(Stage):
    """An autoencoder, or a part of it, and its discriminator.

    Attributes:
        frames: key of the pixels in a batch: "image" or "video".
        discriminates: class of the discriminator.
        encoder: name of the parameters that encode.
        may_differ: of a file's description, what may be otherwise than the config has it.
        new_layers: regular expression of paths that a file may lack; they are fresh then.
    """

    model_keys = ("kind", "network", "discriminator", "perceptual", "init")
    objective_keys = ("perceptual_weight", "disc_weight", "disc_start")
    given_names = ("perceptual",)
    exported = KIND
    leaves = (KIND,)
    shown = ("l1", "lpips")  # the loss is a sum over all values and says nothing to the eye
    reconstructs = True
    frames: ClassVar[str]
    discriminates: ClassVar[type[nn.Module]]
    encoder: ClassVar[str] = KIND
    may_differ: ClassVar[frozenset[str]] = frozenset({"network/latent_scale"})  # it is measured
    new_layers: ClassVar[str] = r"(?!)"

    def __init__(self, config: ConfigDict) -> None:
        super().__init__(config)
        dtype, model = compute_dtype(config.train.precision), config.model
        self.network = table.module_of(model.kind, self.fields(), dtype)
        own = {"dtype": dtype, "parent": None, "name": None}
        section = model.discriminator.to_dict()
        self.discriminator = make(self.discriminates, section, "config.model.discriminator", **own)
        self.perceptual = LPIPS(net=model.perceptual, dtype=dtype)
        self.weights = config.objective
        parts_of(config.sampling)

    def fields(self) -> dict[str, Any]:
        """Return the fields of the autoencoder that the config means."""
        return self.config.model.network.to_dict()

    @property
    def needs(self) -> tuple[str, ...]:
        """Keys of a batch that `loss` reads."""
        return (self.frames,)

    def _example(self, *leading: int) -> jax.ShapeDtypeStruct:
        data = self.config.data
        return jax.ShapeDtypeStruct((*leading, data.height, data.width, 3), jnp.float32)

    @property
    def example(self) -> jax.ShapeDtypeStruct:
        """Shape of one image, or one video, of the data."""
        frames = self.config.data.num_frames
        return self._example(1, frames) if self.frames == "video" else self._example(1)

    def shapes(self) -> PyTree:
        """Return the shapes of what is trained, log-variance and, if it plays, discriminator."""
        tree = {KIND: self.split(self._whole)[KIND], "logvar": _SCALAR}
        if self.weights.perceptual_weight:
            table.abstract_params(self.perceptual, self._example(1), self._example(1))
        if self.weights.disc_weight:
            tree["discriminator"] = table.abstract_params(self.discriminator, self.example)
        return tree

    @property
    def _whole(self) -> PyTree:
        return table.abstract_params(self.network, self.example)

    def split(self, autoencoder: PyTree) -> PyTree:
        """Return an autoencoder's parameters as sub-trees, of which "autoencoder" is trained."""
        return {KIND: autoencoder}

    @functools.cached_property
    def files(self) -> dict[str, WeightsFile]:
        """What training starts from, if anything."""
        if self.weights.perceptual_weight:
            find_lpips_weights(self.config.model.perceptual)
        if self.config.model.init is None:
            return {}
        init = self.find("init", KIND)
        check_made_for(init, self._meaning(), free=self.may_differ)
        return {"init": init}

    def _meaning(self) -> dict[str, Any]:
        return {"network": table.fields_of(self.network)}

    def init(self, key: Key) -> PyTree:
        """Return the autoencoder that training starts from, with a fresh discriminator."""
        where = stream(key, KIND)
        file = self.files["init"] if "init" in self.files else None
        whole = self._fresh(where) if file is None else self._read(file, where)
        params = {KIND: self.split(whole)[KIND], "logvar": jnp.zeros(())}
        if self.weights.disc_weight:
            where = stream(key, "disc")
            params["discriminator"] = table.init_params(self.discriminator, where, self.example)
        return params

    def _fresh(self, key: Key, keep: Callable[[str], bool] = lambda path: True) -> PyTree:
        return table.init_params(self.network, key, *self.network.smallest_inputs(3), keep=keep)

    def _read(self, file: WeightsFile, key: Key) -> PyTree:
        """Return a file's autoencoder, float32, with fresh layers where it may lack some."""
        fresh = functools.partial(self._fresh, key)
        tree, new = start_from(file, self._whole, fresh, self.new_layers)
        if new:
            print(f"fresh, not in {file.path}: {len(new)} arrays, as {new[0]}", flush=True)
        return tree

    def given(self) -> PyTree:
        """Return the perceptual network, if the loss has it."""
        if not self.weights.perceptual_weight:
            return {}
        return {"perceptual": load_lpips_weights(self.config.model.perceptual)}

    def loss(
        self, params: PyTree, batch: dict[str, Any], key: Key, step: int | Int[Array, ""]
    ) -> tuple[Float[Array, ""], dict[str, Any]]:
        """Return the sum of both players' losses, see `reconstruction_loss`."""
        return self.criterion(params, batch, key, step)

    @functools.cached_property
    @abc.abstractmethod
    def criterion(self) -> ReconstructionLoss:
        """The loss of the networks."""

    @property
    def parts(self) -> dict[str, Any]:
        """What a `ReconstructionLoss` is made of."""
        network, discriminator, perceptual = self.network, self.discriminator, self.perceptual

        def call(name: str) -> Any:
            return lambda params, x: network.apply({"params": params}, x, method=name)

        return {
            "decode_features": call("decode_features"),
            "project": call("project"),
            "perceptual": lambda params, x, y: perceptual.apply({"params": params}, x, y),
            "discriminate": lambda params, x: discriminator.apply({"params": params}, x),
            **{name: self.weights[name] for name in self.objective_keys},
        }

    # What it makes of real clips.

    def sampler(self) -> Reconstructor:
        """Return what makes reconstructions, in float32 whatever training computed in."""
        module = self.network.clone(dtype=jnp.float32)
        latents, encoder = Latents(module, *parts_of(self.config.sampling)), self.encoder

        def encode(params: PyTree, frames: Array) -> Array:
            x = to_pixels(frames)
            mean, _ = module.apply({"params": params[encoder]}, x, method="encode")
            return module.latent_scale * mean

        return Reconstructor(
            encode=encode,
            decode=lambda params, z: latents.decode(params[KIND], z),
            parts=latents.parts_of_stream,
            shares_frames=latents.split,
        )

    @functools.cached_property
    def _reconstructor(self) -> Reconstructor:
        return self.sampler()

    def reconstructed(
        self, params: PyTree, source: Source, count: int
    ) -> Iterator[tuple[UInt8[np.ndarray, "t h w 3"], UInt8[np.ndarray, "t h w 3"]]]:
        """Yield examples of the data, spread over it, each with its reconstruction."""
        key = jax.random.key(self.config.seed)  # of which nothing is drawn
        for number in spread(len(source), count):
            cond = self.asked_of([source[number]], {})
            made = self._reconstructor(params, key, jnp.arange(1), cond)
            yield cond[FRAMES][0], np.asarray(made[0])

    def asked_of(
        self, examples: Sequence[Mapping[str, Any]], unknown: Mapping[str, Sequence[str]]
    ) -> Conditioning:
        """Return the frames of examples, which samples are to be reconstructions of."""
        del unknown
        frames = np.stack([one[self.frames] for one in examples])
        return {FRAMES: frames if frames.ndim == 5 else frames[:, None]}

    def trained_file(self, weights: str, *kinds: str) -> WeightsFile:
        """Return the file of trained weights, compared with what this stage means.

        Raises:
            InputError: if there is none, or it was made for something else.
        """
        file = super().trained_file(weights, *kinds)
        check_made_for(file, self._meaning(), free=self.may_differ)
        return file

    def load(self, weights: str) -> tuple[PyTree, dict[str, WeightsFile]]:
        """Return what reconstructs, of an autoencoder's file."""
        file = self.trained_file(weights, *self.leaves)
        whole = self._read(file, jax.random.key(self.config.seed))
        return self.split(whole), self.stands_on(file)


def spread(length: int, count: int) -> list[int]:
    """Return at most so many numbers of examples, spread over a source of this length."""
    return sorted(set(np.linspace(0, length - 1, min(count, length)).round().astype(int).tolist()))
