"""What the denoising stages share: the space that they denoise in, the loss, the sampler.

A subclass says what its network is, what it stands on, and what it leaves behind.
"""

import abc
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import jax
import numpy as np
from ml_collections import ConfigDict

from vldm_jax import conditions
from vldm_jax.conditions import Condition
from vldm_jax.config.base import denoising_config
from vldm_jax.config.diffusion import build_diffusion, build_grid, build_solver
from vldm_jax.core import paths
from vldm_jax.core.assets import resolve
from vldm_jax.core.files import sha256
from vldm_jax.core.rng import stream
from vldm_jax.data.pipeline import Source
from vldm_jax.diffusion.denoiser import make_denoiser
from vldm_jax.interop.weights import WeightsFile
from vldm_jax.models import table
from vldm_jax.sampling.maker import FrameMaker
from vldm_jax.sampling.sampler import Guidance, Sampler, Tell, as_asked, spread
from vldm_jax.stages import asking
from vldm_jax.stages.base import Stage
from vldm_jax.stages.denoising_loss import denoising_loss
from vldm_jax.stages.latents import parts_of
from vldm_jax.stages.origin import ADDED, check_made_for
from vldm_jax.stages.space import PixelSpace, Space, space_of
from vldm_jax.stages.start import start_from
from vldm_jax.training.precision import cast_frozen, compute_dtype
from vldm_jax.typing import Array, Conditioning, Float, Int, Key, PyTree, UInt8

DENOISE = "denoise"  # config.sampling.method: by the network; others are baselines


class DenoisingStage(Stage):
    """A network that denoises the latents of a frozen autoencoder, or pixels.

    Attributes:
        frames: key of the pixels in a batch: "image" or "video".
        init_kinds: kinds of weights that training may start from.
        init_free: what of its description such a file may have otherwise.
        new_layers: regular expression of paths that such a file may lack: layers of conditions.
        of_pixels: spaces without an autoencoder that it may denoise in.
    """

    base = staticmethod(denoising_config)
    model_keys = ("kind", "network", "autoencoder", "init")
    objective_keys = ("p_drop",)
    given_names = ("autoencoder",)
    exported = "network"
    frames: ClassVar[str]
    init_kinds: tuple[str, ...]
    init_free: ClassVar[frozenset[str]] = ADDED
    of_pixels: ClassVar[tuple[type[PixelSpace], ...]] = (PixelSpace,)
    new_layers: ClassVar[str] = "label_tokens|class_embedding|add_embedding|condition_"

    def __init__(self, config: ConfigDict) -> None:
        dtype = compute_dtype(config.train.precision)
        self.network = table.module_of(config.model.kind, self.fields(config), dtype)
        self.diffusion = build_diffusion(config.diffusion)
        nulls = (c.null_file for c in self.network.conditions if c.null_file is not None)
        self.model_keys = (*type(self).model_keys, *nulls)
        super().__init__(config)
        self.conditions = asking.chosen(self.network.conditions, config)
        self.solver = build_solver(config.sampling)
        make_denoiser(lambda z, time: z, self.diffusion.schedule, self.diffusion.target)
        self.grid = build_grid(config.sampling, self.diffusion.schedule)
        parts_of(config.sampling)
        own = tuple(c for c in self.asked_for if c.null_file is None)
        asking.asked(own, config.sampling)

    def fields(self, config: ConfigDict) -> dict[str, Any]:
        """Return the fields of the network that the config means."""
        return config.model.network.to_dict()

    @property
    def needs(self) -> tuple[str, ...]:
        """Keys of a batch that `loss` reads: pixels, or their latents where the data has them."""
        cached = ("latent_mean", "latent_logvar")
        frames = cached if set(cached) <= set(self.brings) else (self.frames,)
        return (*frames, *(condition.key for condition in self.asked_for))

    @property
    def asked_for(self) -> tuple[Condition, ...]:
        """Conditions whose values come from the data, and that samples are asked for."""
        return tuple(c for c in self.conditions if not c.of_clip)

    @property
    def inputs(self) -> tuple[Any, ...]:
        """Shapes of the smallest inputs of the network; its parameters need no more."""
        z, time, _ = self.network.smallest_inputs(self.network.out_channels)
        return z, time, {c.key: c.example_for(z.shape) for c in self.conditions}

    def shapes(self) -> PyTree:
        """Return the shapes of the network's parameters, which no size of latents changes."""
        return {"network": self._shapes}

    @functools.cached_property
    def _shapes(self) -> PyTree:
        return table.abstract_params(self.network, *self.inputs)

    # What it stands on.

    @functools.cached_property
    def space(self) -> Space:
        """What the network denoises; raises if the autoencoder's latents are not the network's."""
        return space_of(
            self.config,
            self.network.out_channels,
            lambda: self.find("autoencoder", "autoencoder"),
            self.of_pixels,
        )

    @functools.cached_property
    def files(self) -> dict[str, WeightsFile]:
        """Those of the space, and what training starts from."""
        found = dict(self.space.files)
        if self.config.model.init is not None:
            found["init"] = self.find("init", *self.init_kinds)
            check_made_for(found["init"], self.meaning(), free=self.init_free)
        self.request(1)  # what previews ask for is there
        return found

    def hashes(self) -> dict[str, str]:
        """Return {path: SHA-256} of what training starts from, and of the null values' files."""
        keys = (c.null_file for c in self.conditions if c.null_file is not None)
        nulls = [path for key in keys if (path := self.config.model[key]) is not None]
        return super().hashes() | {path: sha256(resolve(path)) for path in nulls}

    def meaning(self) -> dict[str, Any]:
        """Return what weights for this stage must have been made for, as their file says it."""
        return {
            "network": table.fields_of(self.network),
            "diffusion": self.config.diffusion.to_dict(),
            "columns": asking.columns(self.asked_for, self.config.data),
        }

    def given(self) -> PyTree:
        """Return the parameters of the space: the autoencoder's, if there is one."""
        return self.space.given()

    # What it learns.

    def started(self, key: Key, part: Callable[[str], bool] = lambda path: True) -> PyTree:
        """Return the network's parameters whose path `part` accepts: fresh, or `init`'s."""
        shapes = paths.select(self.shapes()["network"], part)

        def fresh(keep: Callable[[str], bool]) -> PyTree:
            return table.init_params(
                self.network, stream(key, "network"), *self.inputs,
                keep=lambda path: part(path) and keep(path),
            )  # fmt: skip

        if "init" not in self.files:
            return fresh(lambda path: True)
        tree, new = start_from(self.files["init"], shapes, fresh, self.new_layers)
        if new:
            print(f"fresh, not in {self.files['init'].path}: {', '.join(new)}", flush=True)
        return tree

    def loss(
        self, params: PyTree, batch: dict[str, Any], key: Key, step: int | Int[Array, ""]
    ) -> tuple[Float[Array, ""], dict[str, Any]]:
        """Return the denoising loss of a batch, conditions dropped at `objective.p_drop`."""
        z = self.space.encode(params, batch, self.frames, stream(key, "posterior"))
        told = {condition.key: batch[condition.key] for condition in self.asked_for}
        told |= self.of_clip(batch, z, stream(key, "of_clip"))
        cond = conditions.drop(
            self.conditions, told, stream(key, "drop"), self.config.objective.p_drop, self.nulls
        )
        return denoising_loss(self._train, self.diffusion, params["network"], z, cond, key)

    def of_clip(
        self, batch: dict[str, Any], z: Float[Array, "b *t h w c"], key: Key
    ) -> Conditioning:
        """Return what the network is told that is made of the clips themselves."""
        del batch, z, key
        return {}

    @functools.cached_property
    def nulls(self) -> dict[str, Array]:
        """What dropped conditions become, where a file says it: {"context": the empty prompt's}."""
        return asking.nulls(self.conditions, self.config.model)

    def _train(self, params: PyTree, z: Array, time: Array, cond: Conditioning, key: Key) -> Array:
        rngs = {"dropout": key}
        return self.network.apply({"params": params}, z, time, cond, train=True, rngs=rngs)

    # What it makes.

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of what is one sample in the space."""
        return self.space.shape(self.config.data.height, self.config.data.width)

    def sampler(self) -> Sampler:
        """Return the sampler of `config.sampling`."""
        network, nulls = self.network, self.nulls

        def predict(params: PyTree, z: Array, time: Array, cond: Conditioning) -> Array:
            return network.apply({"params": params["network"]}, z, time, cond, train=False)

        return Sampler(
            network=predict,
            decode=self.space.decode,
            drop=lambda cond, keys: conditions.null_of(
                [c for c in self.conditions if c.key in keys], cond, nulls
            ),
            schedule=self.diffusion.schedule,
            target=self.diffusion.target,
            solver=self.solver,
            grid=self.grid,
            guidance=self.guidance,
            shape=self.shape,
            name=self.config.objective.kind,
            tell=self.tell,
            shares_frames=parts_of(self.config.sampling)[1],
        )

    @property
    def guidance(self) -> tuple[Guidance, ...]:
        """What samples are guided away from, by `config.sampling`."""
        keys = tuple(condition.key for condition in self.asked_for)
        return (Guidance(keys, self.config.sampling.guidance),)

    @property
    def tell(self) -> Tell:
        """What makes of a sample's request what the network is told, see `Sampler`."""
        return as_asked

    def request(
        self, count: int, *, first: int = 0, unknown: Mapping[str, Sequence[str]] | None = None
    ) -> Conditioning:
        """Return what `config.sampling` asks for, as `Stage.request`."""
        rows = asking.asked(self.asked_for, self.config.sampling)
        for key, names in (unknown or {}).items():
            if key not in rows:  # the data has it, this network does not take it
                continue
            columns = [i for i, name in enumerate(self.config.data[key]) if name in names]
            rows[key][:, columns] = np.nan
        return {**spread(rows, count, first), **self.fixed((count,))}

    def asked_of(
        self, examples: Sequence[Mapping[str, Any]], unknown: Mapping[str, Sequence[str]]
    ) -> Conditioning:
        """Return the conditions of real examples, and beside them what the config asks for."""
        request = self.request(len(examples), unknown=unknown)
        return {
            key: np.stack([one[key] for one in examples]) if key in examples[0] else value
            for key, value in request.items()
        }

    def fixed(self, shape: tuple[Any, ...]) -> Conditioning:
        """Return what the network is told beside its conditions, leading with b = `shape`."""
        del shape
        return {}

    def captions(self, cond: Conditioning) -> list[str]:
        """Return a line on each sample: what it was asked for."""
        return asking.captions(self.asked_for, cond, self.config.data)

    def describe(self, cond: Conditioning) -> dict[str, Any]:
        """Return what samples were asked for as JSON values, for their metadata."""
        return asking.json_rows(self.asked_for, cond)

    @functools.cached_property
    def _preview(self) -> FrameMaker:
        return self.sampler()

    def preview(self, params: PyTree, source: Source, count: int) -> UInt8[np.ndarray, "b t h w 3"]:
        """Return samples of what `config.sampling` asks for, as far as the data knows it."""
        cond = self._asked_of(source, count)
        key, index = jax.random.key(self.config.seed), np.arange(count)
        size = self.config.sampling.batch_size
        return np.concatenate(list(self._preview.in_batches(params, key, index, cond, size)))

    def preview_captions(self, source: Source, count: int) -> list[str]:
        """Return a line on each sample of a preview: what it was asked for."""
        return self.captions(self._asked_of(source, count))

    def _asked_of(self, source: Source, count: int) -> Conditioning:
        if not self.conditioning_frames:
            return self.request(count, unknown=source.unknown)
        # What is asked for must not contradict the frames that are given: it is the clips' own.
        return self.asked_of([source[i % len(source)] for i in range(count)], source.unknown)

    # What it leaves behind.

    @property
    @abc.abstractmethod
    def leaves(self) -> tuple[str, ...]:
        """Kinds of the weights files that `export` may write."""

    def about(self, source: Source) -> dict[str, Any]:
        """Return what a file of this stage says of what it was trained for and on."""
        data = self.config.data
        return {
            "diffusion": self.config.diffusion.to_dict(),
            "columns": asking.columns(self.asked_for, data),
            **self.space.about(),
            "fps": float(data.fps),
            "num_frames": data.num_frames,
            "size": [data.height, data.width],
            "examples": len(source),
            "unknown": {key: list(names) for key, names in source.unknown.items()},
        }

    def trained_file(self, weights: str, *kinds: str) -> WeightsFile:
        """Return the file of trained weights, compared with what this stage means.

        Raises:
            InputError: if there is none, or it was made for something else.
        """
        file = super().trained_file(weights, *kinds)
        self.check_trained(file)
        return file

    def check_trained(self, file: WeightsFile) -> None:
        """Raise if trained weights were made for something else than this stage means."""
        check_made_for(file, self.meaning())
        self.space.check(file)

    def stands_on(self, weights: WeightsFile) -> dict[str, WeightsFile]:
        """As of every stage; and the space's files."""
        return {**self.space.files, **super().stands_on(weights)}

    def whole(self, path: str, network: PyTree) -> PyTree:
        """Return the parameters to sample with, float32, of a network that was read from `path`.

        Raises:
            InputError: naming a parameter that does not fit.
        """
        paths.check_fits(path, network, self.shapes()["network"])
        return cast_frozen({"network": network, **self.given()}, "float32")
