"""What to write as a portable program: a `Function`; here those of a network, its forward passes.

A program is a function of (params, inputs by name); `export.program` writes it. Its sizes are
fixed, but for the batch.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from vldm_jax.conditions.text import Text
from vldm_jax.core.errors import InputError
from vldm_jax.models.network import Network
from vldm_jax.models.table import TEMPORAL
from vldm_jax.typing import Array, PyTree

_ENCODER = ("encoder", "quant_conv")  # of an autoencoder


@dataclasses.dataclass(frozen=True, eq=False)
class Function:
    """A function to be written.

    Attributes:
        call: (params, **inputs) -> array.
        params: its parameters.
        inputs: shapes by name, with a batch of 1.
        meanings: of inputs and of the "result", for people; of others they are left out.
    """

    call: Callable[..., PyTree]
    params: PyTree
    inputs: dict[str, jax.ShapeDtypeStruct]
    meanings: dict[str, str]


def network_functions(
    network: Network, *, size: tuple[int, int], frames: int, tokens: int
) -> dict[str, Function]:
    """Return the functions of a network by name.

    Args:
        network: of any kind but temporal layers.
        size: height and width of the latents.
        frames: of a video.
        tokens: of the text.

    Raises:
        InputError: for temporal layers, which have no forward pass of their own, or a family from
            outside.
    """
    makers = {
        "unet": _denoiser,
        "video_unet": _denoiser,
        "autoencoder": _autoencoder,
        "text_encoder": _text_encoder,
    }
    if network.kind == TEMPORAL:
        raise InputError("temporal layers alone are no program: give their backbone, --onto")
    if network.kind not in makers:
        raise InputError(
            f"{network.source}: a network of kind {network.kind!r} is no program, only "
            f"{', '.join(makers)} are"
        )
    return makers[network.kind](network, size, frames, tokens)


def decoder_part(params: PyTree) -> PyTree:
    """Return the parameters of an autoencoder that decoding needs."""
    return {name: leaf for name, leaf in params.items() if name not in _ENCODER}


def one(dtype: Any, *rest: int) -> jax.ShapeDtypeStruct:
    """Return the shape of an input with a batch of 1."""
    return jax.ShapeDtypeStruct((1, *rest), dtype)


def _denoiser(
    network: Network, size: tuple[int, int], frames: int, tokens: int
) -> dict[str, Function]:
    module = network.module
    channels = network.params["conv_in"]["kernel"].shape[2]
    video = (frames,) if network.kind == "video_unet" else ()
    inputs = {"z": one(jnp.float32, *video, *size, channels), "time": one(jnp.float32)}
    meanings = {
        "z": "scaled noisy latents, channels last",
        "time": "discrete diffusion step in [0, 1000)",
        "result": "epsilon or v, as the network was trained",
    }
    for condition in module.conditions:
        if condition.required:  # labels are the context where there are some, and text is not
            inputs[condition.key] = condition.example()
            meanings[condition.key] = condition.meaning
    if Text.key in inputs:
        inputs[Text.key] = one(jnp.float32, tokens, module.context_dim)

    def call(params: PyTree, z: Array, time: Array, **conditions: Array) -> Array:
        return module.apply({"params": params}, z, time, conditions, train=False)

    return {"denoise": Function(call, network.params, inputs, meanings)}


def _autoencoder(
    network: Network, size: tuple[int, int], frames: int, tokens: int
) -> dict[str, Function]:
    del tokens
    module = network.module
    video = (frames,) if module.temporal_decoder else ()
    pixels = tuple(side * module.factor for side in size)

    def encode(params: PyTree, x: Array) -> tuple[Array, Array]:
        return module.apply({"params": params}, x, method="encode")

    def decode(params: PyTree, z: Array) -> Array:
        return module.apply({"params": params}, z, method="decode")

    encoder = {name: leaf for name, leaf in network.params.items() if name in _ENCODER}
    x = one(jnp.float32, *pixels, module.in_channels)
    z = one(jnp.float32, *video, *size, module.latent_channels)
    return {
        "encode": Function(
            encode,
            encoder,
            {"x": x},
            {"x": "images in [-1, 1]", "result": "mean and log-variance of the raw latents"},
        ),
        "decode": Function(
            decode,
            decoder_part(network.params),
            {"z": z},
            {
                "z": f"raw latents: a U-Net's divided by {module.latent_scale:.6g}",
                "result": "images, about [-1, 1]",
            },
        ),
    }


def _text_encoder(
    network: Network, size: tuple[int, int], frames: int, tokens: int
) -> dict[str, Function]:
    del size, frames

    def call(params: PyTree, tokens: Array) -> Array:
        return network.module.apply({"params": params}, tokens)

    inputs = {"tokens": one(jnp.int32, tokens)}
    meanings = {"tokens": "token ids", "result": "last hidden states, a U-Net's context"}
    return {"encode_text": Function(call, network.params, inputs, meanings)}
