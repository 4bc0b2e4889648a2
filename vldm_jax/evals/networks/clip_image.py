"""The CLIP image transformer: an image -> one vector, before the projection to what text shares.

    x = pre_layrnorm([class; patches] + position);   L layers as the text's, without its mask
    out = post_layernorm(x[0])

The layers, but for their attention, and the row of them are those of `vldm_jax.models.text`. Names
of parameters are those of transformers' `CLIPVisionModel` with `_i` for `.i`, its misspelt norm
included, but for the attention's, which are the house's (to_q, to_k, to_v, to_out_0).

Source: Radford et al., arXiv:2103.00020, Sec. 2.4; Dosovitskiy et al., arXiv:2010.11929.
"""

import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from PIL import Image

from vldm_jax.core.errors import InputError
from vldm_jax.models.text import ACTIVATIONS, ClipLayer, TextLayers
from vldm_jax.nn.attention import Attention
from vldm_jax.nn.conv import Conv
from vldm_jax.nn.norm import LayerNorm
from vldm_jax.typing import Array, DTypeLike, Float, UInt8

MEAN = (0.48145466, 0.4578275, 0.40821073)  # of the images of CLIP's training, in [0, 1]
DEVIATION = (0.26862954, 0.26130258, 0.27577711)


def crop_for_clip(frames: UInt8[np.ndarray, "n h w 3"], size: int) -> UInt8[np.ndarray, "n s s 3"]:
    """Return the square that CLIP sees of each frame: shortest side to `size`, then the centre.

    Resized by Pillow's bicubic filter on whole numbers, as the images of CLIP's training were.
    """
    h, w = frames.shape[1:3]
    short = min(h, w)
    height, width = size * h // short, size * w // short
    top, left = (height - size) // 2, (width - size) // 2
    out = np.empty((len(frames), size, size, 3), np.uint8)
    for frame, square in zip(frames, out, strict=True):
        image = Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC)
        square[...] = np.asarray(image)[top : top + size, left : left + size]
    return out


def normalise_for_clip(squares: UInt8[np.ndarray, "n s s 3"]) -> Float[np.ndarray, "n s s 3"]:
    """Return the values that the image transformer takes."""
    return ((squares / np.float32(255) - np.float32(MEAN)) / np.float32(DEVIATION)).astype(
        np.float32
    )


class Patches(nn.Module):
    """A class token and one token a patch, with positions.

    Attributes:
        width: of the tokens.
        patch: side of a patch, in pixels.
        dtype: compute type.
    """

    width: int
    patch: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"]) -> Float[Array, "b n d"]:
        """Return the tokens, the class first, then the patches row by row."""
        conv = Conv(
            self.width,
            (self.patch, self.patch),
            stride=self.patch,
            padding=((0, 0), (0, 0)),
            use_bias=False,
            dtype=self.dtype,
            name="patch_embedding",
        )
        x = conv(x).reshape(x.shape[0], -1, self.width)
        first = self.param("class_embedding", nn.initializers.normal(0.02), (self.width,))
        first = jnp.broadcast_to(first, (x.shape[0], 1, self.width)).astype(self.dtype)
        x = jnp.concatenate([first, x], axis=1)
        positions = nn.Embed(x.shape[1], self.width, name="position_embedding")
        places = positions(jnp.arange(x.shape[1])[None])
        return x + jnp.broadcast_to(places, x.shape).astype(self.dtype)


class ImageEncoder(nn.Module):
    """CLIP image transformer; the defaults are ViT-B/32's.

    Attributes:
        size: side of the images, in pixels.
        patch: side of a patch.
        width: of the tokens.
        layers: number of layers.
        heads: attention heads; must divide `width`.
        mlp_width: hidden width of the MLPs.
        activation: "quick_gelu" (OpenAI's CLIP) or "gelu" (erf form, OpenCLIP).
        eps: of the norms.
        dtype: compute type; norms, softmax and the result are float32.
    """

    size: int = 224
    patch: int = 32
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp_width: int = 3072
    activation: str = "quick_gelu"
    eps: float = 1e-5
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"]) -> Float[Array, "b d"]:
        """Return the class token after the final norm, float32.

        Args:
            x: (b size size 3) from `crop_for_clip` and `normalise_for_clip`.

        Raises:
            InputError: if the images have another size, the activation is unknown, or `heads` does
                not divide the width.
        """
        if x.shape[1:3] != (self.size, self.size):
            raise InputError(
                f"image encoder: images of {x.shape[1]}x{x.shape[2]}, it has positions for "
                f"{self.size}x{self.size}: crop them with crop_for_clip"
            )
        if self.activation not in ACTIVATIONS:
            raise InputError(
                f"image encoder: activation {self.activation!r} is unknown; "
                f"use one of {', '.join(ACTIVATIONS)}"
            )
        x = Patches(self.width, self.patch, self.dtype, name="embeddings")(x)
        x = LayerNorm(self.eps, self.dtype, name="pre_layrnorm")(x)
        attention = functools.partial(Attention, self.heads, qkv_bias=True, dtype=self.dtype)
        make_layer = functools.partial(
            ClipLayer, attention, self.mlp_width, self.activation, self.eps, self.dtype
        )
        x = TextLayers(self.layers, make_layer, name="encoder")(x)
        return LayerNorm(self.eps, name="post_layernorm")(x[:, 0])


def image_fields(
    shapes: Mapping[str, tuple[int, ...]], config: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the fields of an `ImageEncoder`: what shapes and transformers' config tell.

    Args:
        shapes: of the tensors below "vision_model.", by their names.
        config: `vision_config`, empty where there is none; heads are 64 wide then.
    """
    width, _, patch, _ = shapes["embeddings.patch_embedding.weight"]
    positions, _ = shapes["embeddings.position_embedding.weight"]
    return {
        "size": patch * round((positions - 1) ** 0.5),
        "patch": patch,
        "width": width,
        "layers": len({name.split(".")[2] for name in shapes if name.startswith("encoder.layers")}),
        "mlp_width": shapes["encoder.layers.0.mlp.fc1.weight"][0],
        "heads": config.get("num_attention_heads", max(width // 64, 1)),
        "activation": config.get("hidden_act", "quick_gelu"),
        "eps": config.get("layer_norm_eps", 1e-5),
    }
