"""Scaled dot-product attention and its projections (to_q, to_k, to_v, to_out_0).

    attend(q, k, v) = softmax(q k^T / sqrt(e) + bias) v        per head, softmax in float32

`Attention` serves self-attention (no context) and cross-attention. Nothing here knows of images or
videos: callers fold their axes into `b n d`.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange

from vldm_jax.core.errors import InputError
from vldm_jax.nn.dense import Dense
from vldm_jax.nn.init import fan_in_normal
from vldm_jax.nn.norm import GroupNorm
from vldm_jax.nn.products import einsum
from vldm_jax.typing import Array, Bool, DTypeLike, Float


def head_width(width: int, heads: int, where: str) -> int:
    """Return the width of one head.

    Raises:
        InputError: if `heads` does not divide `width`.
    """
    if heads < 1 or width % heads:
        raise InputError(
            f"{where}: {heads} attention heads do not divide the width {width}; "
            "choose heads (or a head width) that divide every channel count with attention"
        )
    return width // heads


def attend(
    q: Float[Array, "b n heads e"],
    k: Float[Array, "b m heads e"],
    v: Float[Array, "b m heads e"],
    bias: Float[Array, "b heads n m"] | None = None,
    mask: Bool[Array, "n m"] | None = None,
    there: Bool[Array, "b m"] | None = None,
) -> Float[Array, "b n heads e"]:
    """Return softmax(q k^T / sqrt(e) + bias) v.

    Args:
        q: queries.
        k: keys.
        v: values.
        bias: of the logits.
        mask: False forbids a pair, in every sample.
        there: False forbids a key of a sample; each sample must keep one.
    """
    if mask is not None:
        mask = mask[None, None]
    if there is not None:
        there = there[:, None, None]
        mask = there if mask is None else mask & there
    return jax.nn.dot_product_attention(q, k, v, bias=bias, mask=mask)


class Attention(nn.Module):
    """Multi-head attention from x to `context`, or to x itself.

    Attributes:
        heads: number of heads; must divide the width of x.
        qkv_bias: whether queries, keys and values have a bias (autoencoders do, U-Nets don't).
        out_init: initialiser of the output projection.
        dtype: compute type; the softmax is float32.
    """

    heads: int
    qkv_bias: bool = False
    out_init: nn.initializers.Initializer = fan_in_normal
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b n d"],
        context: Float[Array, "b m d2"] | None = None,
        relative_keys: Float[Array, "n m d"] | None = None,
        mask: Bool[Array, "n m"] | None = None,
        there: Bool[Array, "b m"] | None = None,
    ) -> Float[Array, "b n d"]:
        """Return the attended tokens, width of x.

        Args:
            x: queries.
            context: where keys and values come from; None for x.
            relative_keys: added to key j as seen from query i; float32, as parameters are.
            mask: False forbids a pair.
            there: False for tokens of the context that nothing attends to; None for none such.

        Raises:
            InputError: if `heads` does not divide the width of x.
        """
        width = x.shape[-1]
        e = head_width(width, self.heads, f"attention '{'/'.join(self.path)}'")
        source = x if context is None else context

        def project(name, tokens):
            dense = Dense(width, use_bias=self.qkv_bias, dtype=self.dtype, name=name)
            return rearrange(dense(tokens), "b n (heads e) -> b n heads e", heads=self.heads)

        q, k, v = project("to_q", x), project("to_k", source), project("to_v", source)
        bias = None
        if relative_keys is not None:
            keys = rearrange(relative_keys, "n m (heads e) -> n m heads e", heads=self.heads)
            logits = einsum("bnhe,nmhe->bhnm", q, keys, dtype=self.dtype, out=jnp.float32)
            bias = logits / math.sqrt(e)
        out = attend(q, k, v, bias, mask, there)
        out = rearrange(out, "b n heads e -> b n (heads e)")
        return Dense(width, kernel_init=self.out_init, dtype=self.dtype, name="to_out_0")(out)


class ImageAttention(nn.Module):
    """Normalised residual self-attention over all pixels, as in the middle of the KL autoencoder.

    Parameters: group_norm, to_q, to_k, to_v, to_out_0 (all with bias).

    Attributes:
        heads: number of heads (1 in the autoencoder).
        groups: norm groups.
        eps: of the norm.
        dtype: compute type.
    """

    heads: int = 1
    groups: int = 32
    eps: float = 1e-6
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Return x plus what its pixels attend to."""
        attention = Attention(self.heads, qkv_bias=True, dtype=self.dtype, name="attention")
        nn.share_scope(self, attention)
        y = GroupNorm(self.groups, self.eps, self.dtype, name="group_norm")(x)
        y = attention(rearrange(y, "b h w c -> b (h w) c"))
        return x + y.reshape(x.shape)
