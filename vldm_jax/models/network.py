"""A network with its parameters, and how to call it: what is loaded, trained further and exported.

    unet          net(z, time, context)      z: b h w c            -> b h w c
    video_unet    net(z, time, context)      z: b t h w c          -> b t h w c
    autoencoder   net.encode(x), net.decode(z)
    text_encoder  net(tokens)                tokens: b n           -> b n d
    temporal      net.onto(unet)             -> a video_unet
    detector      net(x)                     x: b h w 3            -> boxes b n 4, ...

All arrays are channels last; parameters may have any floating type, the results are float32. Calls
are compiled once a shape.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vldm_jax.core import paths
from vldm_jax.core.assets import resolve
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import sha256
from vldm_jax.models import table
from vldm_jax.models.detector_maps import Detections, decode
from vldm_jax.nn.stage import TemporalLayers
from vldm_jax.nn.temporal import TemporalSpec
from vldm_jax.typing import Array, Float, Int, Key, PyTree, Shaped

AnyArray: TypeAlias = Array | np.ndarray  # on a device or on the host


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Network:
    """A network with its parameters.

    Attributes:
        kind: "unet", "video_unet", "autoencoder", "text_encoder", "temporal" or
            "detector".
        module: Linen module; None for temporal layers, which have no forward pass of their own.
        params: nested dict of arrays, or of tensors in files that are not read yet.
        fields: the module's, as JSON values; of temporal layers, their video U-Net's.
        source: where it was read, for messages.
        meta: what else is known: its origin, steps, backbone, diffusion; JSON values.
    """

    kind: str
    module: nn.Module | None
    params: PyTree
    fields: dict[str, Any]
    source: str = "a network in memory"
    meta: dict[str, Any] = dataclasses.field(default_factory=dict)

    def _compiled(self, method: str | None = None, **static: Any) -> Callable:
        return functools.partial(_program(self.module, method, **static), self.params)


@functools.lru_cache
def _program(module: nn.Module, method: str | None, **static: Any) -> Callable:
    """Return a compiled call, one for all networks of the same module; it holds no parameters."""

    def apply(params: PyTree, *inputs: Any) -> Any:
        return module.apply({"params": params}, *inputs, method=method, **static)

    return jax.jit(apply)


class Denoiser(Network):
    """A U-Net for images or videos."""

    def __call__(
        self,
        z: Float[AnyArray, "b *t h w c"],
        time: Shaped[AnyArray, "*b"] | float | int,
        context: Float[AnyArray, "b n d"] | None = None,
        **told: Shaped[AnyArray, "b ..."] | None,
    ) -> Float[Array, "b *t h w c2"]:
        """Return the network's prediction (epsilon or v, as it was trained), float32.

        Args:
            z: scaled noisy latents, and whatever else the network takes on channels beside them.
            time: discrete diffusion steps in [0, 1000), one for all or one a sample.
            context: text tokens.
            **told: what else it takes, by the keys of `module.conditions`: `labels` of a driving
                model, `class_labels` of an upscaler, `added_time_ids` of Stable Video Diffusion,
                `context_temporal`; each says its `meaning`. None is as if it were not given.

        Raises:
            InputError: if an input is missing, not wanted or of another width.
        """
        given = {"context": context, **told}
        self._check_latents(np.shape(z))
        cond = {key: jnp.asarray(value) for key, value in given.items() if value is not None}
        z, time = jnp.asarray(z), jnp.broadcast_to(jnp.asarray(time), (len(z),))
        return self._compiled(train=False)(z, time, cond)

    def _check_latents(self, shape: tuple[int, ...]) -> None:
        """Channels first is the likely slip of who comes from PyTorch."""
        axes, channels = ("b h w c", "b t h w c")[self.kind == "video_unet"], _channels(self)
        if len(shape) != len(axes.split()) or shape[-1] != channels:
            raise InputError(
                f"{self.source}: z must be {axes} with {channels} channels last, got {shape}"
            )


class AutoencoderNetwork(Network):
    """A KL autoencoder, with a temporal decoder or without."""

    def encode(
        self, x: Float[AnyArray, "b H W 3"]
    ) -> tuple[Float[Array, "b h w c"], Float[Array, "b h w c"]]:
        """Return mean and log-variance of the raw latents of images in [-1, 1]."""
        return self._compiled("encode")(jnp.asarray(x))

    def decode(self, z: Float[AnyArray, "b *t h w c"]) -> Float[Array, "b *t H W 3"]:
        """Return the images, or with a temporal decoder the videos, of raw latents.

        Raw means: what a U-Net works on, divided by `fields["latent_scale"]`.
        """
        return self._compiled("decode")(jnp.asarray(z))


class TextNetwork(Network):
    """A text encoder."""

    def __call__(self, tokens: Int[AnyArray, "b n"]) -> Float[Array, "b n d"]:
        """Return the tokens' last hidden states, which a U-Net takes as context.

        Raises:
            InputError: if a token has no embedding.
        """
        largest, size = int(np.max(tokens, initial=0)), self.fields["vocab_size"]
        if largest >= size:
            raise InputError(
                f"{self.source}: got the token {largest}, it has embeddings for 0 to {size - 1}: "
                "take the tokenizer that belongs to it"
            )
        return self._compiled()(jnp.asarray(tokens))


class DetectorNetwork(Network):
    """A detector of boxes and of binary attributes."""

    def __call__(
        self, x: Float[AnyArray, "b h w 3"]
    ) -> tuple[Detections, Float[Array, "b attributes"]]:
        """Return the boxes of frames in [-1, 1], and the probability of each attribute.

        A box counts as one from a score of `fields["threshold"]` on.
        """
        maps = self._compiled()(jnp.asarray(x))
        return decode(maps, x.shape[1:3]), jax.nn.sigmoid(maps.attributes)


class TemporalNetwork(Network):
    """Temporal layers alone."""

    def onto(self, unet: Network) -> Denoiser:
        """Return the video U-Net of these layers on an image U-Net of the same shape.

        The image U-Net may be another than they were trained on (a DreamBooth model, App. H.3).

        Raises:
            InputError: if the shapes do not fit.
        """
        if unet.kind != "unet":
            raise InputError(
                f"{self.source}: temporal layers go onto a network of kind 'unet', "
                f"{unet.source} is of kind {unet.kind!r}"
            )
        spec = table.temporal_of(self.fields["temporal"])
        for name in spec.made_for:
            mine, there = self.fields[name], unet.fields[name]
            if mine != there:
                raise InputError(
                    f"{self.source}: made for a backbone with {name} = {mine}, {unet.source} has "
                    f"{there}"
                )
        self._check_diffusion(unet)
        fields = {**unet.fields, "temporal": self.fields["temporal"]}
        # What the layers are told beside what the image model is: context frames, rates, noise.
        told = [list(network.fields.get(table.CONDITIONS, ())) for network in (unet, self)]
        fields[table.CONDITIONS] = told[0] + [one for one in told[1] if one not in told[0]]
        module = table.module_of("video_unet", fields, unet.module.dtype)
        expected = table.abstract_params(module, *module.smallest_inputs(_channels(unet)))
        paths.check_fits(self.source, self.params, table.temporal_part(expected))
        params = paths.merge(unet.params, self.params)
        meta = {**self.meta, "image_model": unet.meta}
        return Denoiser(
            kind="video_unet",
            module=module,
            params=params,
            fields=table.fields_of(module),
            source=f"{self.source} on {unet.source}",
            meta=meta,
        )

    def _check_diffusion(self, unet: Network) -> None:
        """Layers trained for epsilon make mush of a v model, and shapes don't tell."""
        mine, there = (
            paths.flatten(network.meta.get("diffusion", {})) for network in (self, unet)
        )  # fmt: skip
        for name in sorted((mine.keys() & there.keys()) - {"min_snr_gamma"}):
            if mine[name] != there[name]:
                raise InputError(
                    f"{self.source}: trained with diffusion {name} = {mine[name]}, {unet.source} "
                    f"with {there[name]}: take a backbone of the same diffusion"
                )


CLASSES = {
    "unet": Denoiser,
    "video_unet": Denoiser,
    "autoencoder": AutoencoderNetwork,
    "text_encoder": TextNetwork,
    "temporal": TemporalNetwork,
    "detector": DetectorNetwork,
}


def class_of(kind: str) -> type[Network]:
    """Return the class of a kind; a family from outside is a network and no more."""
    return CLASSES.get(kind, Network)


def insert_temporal(
    unet: Denoiser, spec: TemporalLayers | None = None, key: Key | None = None
) -> Denoiser:
    """Return the video U-Net with fresh temporal layers, an identity until they are trained.

    Args:
        unet: an image U-Net.
        spec: hyper-parameters of the layers; None for `TemporalSpec()`, the paper's with a scalar
            mix.
        key: random key of their initialisation; None for `jax.random.key(0)`.
    """
    spec = TemporalSpec() if spec is None else spec
    key = jax.random.key(0) if key is None else key
    compute = unet.module.dtype
    module = table.module_of("video_unet", unet.fields, compute).clone(temporal=spec)
    inputs = module.smallest_inputs(_channels(unet))
    layers = table.init_params(module, key, *inputs, keep=lambda path: table.TEMPORAL in path)
    fields = table.fields_of(module)
    fresh = TemporalNetwork(kind=table.TEMPORAL, module=None, params=layers, fields=fields)
    return fresh.onto(unet)


def temporal_layers(video: Denoiser, backbone: str | Path) -> TemporalNetwork:
    """Return the temporal layers of a video U-Net alone, to be saved or put onto another.

    Args:
        video: a video U-Net.
        backbone: weights file of the image U-Net that they were trained on; its name and SHA-256
            are kept.

    Raises:
        InputError: if it is no video U-Net, or there is no such file.
    """
    if video.kind != "video_unet":
        raise InputError(f"{video.source} is of kind {video.kind!r}, it has no temporal layers")
    file = resolve(str(backbone))
    return TemporalNetwork(
        kind=table.TEMPORAL,
        module=None,
        params=table.temporal_part(video.params),
        fields=video.fields,
        source=video.source,
        meta={**video.meta, "backbone": {"name": file.name, "sha256": sha256(file)}},
    )


def _channels(unet: Network) -> int:
    return unet.params["conv_in"]["kernel"].shape[2]
