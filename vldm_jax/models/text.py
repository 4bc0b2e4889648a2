"""The CLIP text transformer: token ids -> one embedding a token, the context of cross-attention.

    x = token + position;   L times:  x += attend(norm1(x)),  x += fc2(act(fc1(norm2(x))))
    out = final_layer_norm(x)

Attention is causal: token i sees tokens 0..i. Both families of Stable Diffusion use the last hidden
state of every token, padding included and unmasked, never the pooled one; so there is no projection
here, no temperature and no tokenizer. Names of parameters are those of transformers'
`CLIPTextModel` (without the `text_model.` of older files) with `_i` for `.i`.

| row of `SIZES` | text | parameters |
|---|---|---|
| clip_l: SD 1.x, CLIP ViT-L/14 | b 77 768 | 123,060,480 |
| openclip_h: SD 2.x, x4 upscaler; OpenCLIP ViT-H/14 less a layer | b 77 1024 | 340,387,840 |

Source: arXiv:2103.00020 Sec. 2.4; arXiv:2112.10752 (SD 1.x); OpenCLIP, arXiv:2212.07143 (SD 2.x).
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange

from vldm_jax.core.errors import InputError
from vldm_jax.nn.attention import attend, head_width
from vldm_jax.nn.dense import Dense
from vldm_jax.nn.norm import LayerNorm
from vldm_jax.typing import Array, DTypeLike, Float, Int

SIZES = {
    "clip_l": {
        "width": 768,
        "layers": 12,
        "heads": 12,
        "mlp_width": 3072,
        "activation": "quick_gelu",
    },
    # 24 layers were trained; SD 2.x normalises the output of the last but one.
    "openclip_h": {
        "width": 1024,
        "layers": 23,
        "heads": 16,
        "mlp_width": 4096,
        "activation": "gelu",
    },
}


def quick_gelu(x: Float[Array, "*batch c"]) -> Float[Array, "*batch c"]:
    """Return x sigmoid(1.702 x), the approximation that CLIP was trained with."""
    return x * jax.nn.sigmoid(1.702 * x)


ACTIVATIONS = {"quick_gelu": quick_gelu, "gelu": functools.partial(nn.gelu, approximate=False)}


class Embeddings(nn.Module):
    """Sum of token and position embeddings (parameters token_embedding, position_embedding).

    Attributes:
        vocab_size: number of tokens.
        max_tokens: number of positions.
        width: of the embeddings.
        dtype: compute type.
    """

    vocab_size: int
    max_tokens: int
    width: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, tokens: Int[Array, "b n"]) -> Float[Array, "b n d"]:
        """Return the embeddings of tokens at positions 0, 1, ..."""

        def table(name, entries, std):
            init = nn.initializers.normal(std)
            return nn.Embed(entries, self.width, embedding_init=init, name=name)

        positions = jnp.arange(tokens.shape[1])[None]
        # The deviations with which CLIP starts.
        x = table("token_embedding", self.vocab_size, 0.02)(tokens)
        positions = table("position_embedding", self.max_tokens, 0.01)(positions)
        # Cast last, so that gradients are summed over the batch in float32.
        return x.astype(self.dtype) + jnp.broadcast_to(positions, x.shape).astype(self.dtype)


class CausalAttention(nn.Module):
    """Multi-head self-attention to this and earlier tokens (q_proj, k_proj, v_proj, out_proj).

    Attributes:
        heads: number of heads.
        dtype: compute type; the softmax is float32.
    """

    heads: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
        """Return the attended tokens.

        Raises:
            InputError: if `heads` does not divide the width.
        """
        length, width = x.shape[1:]
        head_width(width, self.heads, "text encoder")

        def project(name):
            y = Dense(width, dtype=self.dtype, name=name)(x)
            return rearrange(y, "b n (heads e) -> b n heads e", heads=self.heads)

        earlier = jnp.tril(jnp.ones((length, length), bool))
        out = attend(project("q_proj"), project("k_proj"), project("v_proj"), mask=earlier)
        out = rearrange(out, "b n heads e -> b n (heads e)")
        return Dense(width, dtype=self.dtype, name="out_proj")(out)


class MLP(nn.Module):
    """Two linear layers around an activation (parameters fc1, fc2).

    Attributes:
        hidden: width between the layers.
        activation: key of `ACTIVATIONS`.
        dtype: compute type.
    """

    hidden: int
    activation: str
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
        """Return the transformed tokens, without a residual."""
        y = ACTIVATIONS[self.activation](Dense(self.hidden, dtype=self.dtype, name="fc1")(x))
        return Dense(x.shape[-1], dtype=self.dtype, name="fc2")(y)


class ClipLayer(nn.Module):
    """Attention and MLP, each normalised and residual (layer_norm1, self_attn, layer_norm2, mlp).

    Attributes:
        attention: makes one, given its name.
        mlp_width: hidden width of the MLP.
        activation: key of `ACTIVATIONS`.
        eps: of the norms.
        dtype: compute type.
    """

    attention: functools.partial
    mlp_width: int
    activation: str
    eps: float
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
        """Return the tokens after the layer."""
        y = LayerNorm(self.eps, self.dtype, name="layer_norm1")(x)
        x = x + self.attention(name="self_attn")(y)
        y = LayerNorm(self.eps, self.dtype, name="layer_norm2")(x)
        return x + MLP(self.mlp_width, self.activation, self.dtype, name="mlp")(y)


class TextLayers(nn.Module):
    """A row of equal layers (parameters layers_0, layers_1, ...).

    Attributes:
        count: number of layers.
        make_layer: makes one, given its name.
    """

    count: int
    make_layer: functools.partial

    @nn.compact
    def __call__(self, x: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
        """Return the tokens after all layers."""
        for i in range(self.count):
            x = self.make_layer(name=f"layers_{i}")(x)
        return x


class TextEncoder(nn.Module):
    """CLIP text transformer; the defaults are SD 1.x's.

    Attributes:
        width: of the embeddings.
        layers: number of layers.
        heads: attention heads; must divide `width`.
        mlp_width: hidden width of the MLPs.
        activation: "quick_gelu" (OpenAI's CLIP) or "gelu" (erf form, OpenCLIP).
        vocab_size: number of tokens.
        max_tokens: number of positions; a text may be shorter.
        eps: of the norms.
        dtype: compute type; parameters, norms, softmax and the result are float32.
    """

    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp_width: int = 3072
    activation: str = "quick_gelu"
    vocab_size: int = 49408
    max_tokens: int = 77
    eps: float = 1e-5
    dtype: DTypeLike = jnp.float32

    def smallest_inputs(self, channels: int) -> tuple[Any, ...]:
        """Return the shape of one token, which has no channels; parameters need no more."""
        del channels
        return (jax.ShapeDtypeStruct((1, 1), jnp.int32),)

    @nn.compact
    def __call__(self, tokens: Int[Array, "b n"]) -> Float[Array, "b n d"]:
        """Return the last hidden state after the final norm, float32.

        Args:
            tokens: (b n) ids in [0, vocab_size). A compiled program cannot refuse others: an id of
                vocab_size or more makes the result NaN, a negative one counts from the end.

        Raises:
            InputError: if there are more tokens than positions, the activation is unknown, or
                `heads` does not divide the width.
        """
        if tokens.shape[1] > self.max_tokens:
            raise InputError(
                f"text encoder: {tokens.shape[1]} tokens, but there are positions for "
                f"{self.max_tokens}; cut the text"
            )
        if self.activation not in ACTIVATIONS:
            raise InputError(
                f"text encoder: activation {self.activation!r} is unknown; "
                f"use one of {', '.join(ACTIVATIONS)}"
            )
        embed = Embeddings(
            self.vocab_size, self.max_tokens, self.width, self.dtype, name="embeddings"
        )
        attention = functools.partial(CausalAttention, self.heads, self.dtype)
        make_layer = functools.partial(
            ClipLayer, attention, self.mlp_width, self.activation, self.eps, self.dtype
        )
        x = TextLayers(self.layers, make_layer, name="encoder")(embed(tokens))
        return LayerNorm(self.eps, name="final_layer_norm")(x)
