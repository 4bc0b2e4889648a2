"""The spatial transformer of Stable Diffusion.

    x + proj_out( temporal( block( proj_in(norm(x)) ) ) )

The block is self-attention over pixels, cross-attention to tokens and a feed-forward; `temporal` is
absent in an image model. Cross-attention folds frames into the query axis: pixels of all frames of
a video attend to its tokens at once, so that keys and values are computed once, never repeated.
"""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange

from vldm_jax.nn.attention import Attention
from vldm_jax.nn.conv import Conv
from vldm_jax.nn.dense import Dense
from vldm_jax.nn.init import fan_in_normal, zeros
from vldm_jax.nn.norm import GroupNorm, LayerNorm
from vldm_jax.typing import Array, Bool, DTypeLike, Float


class GEGLU(nn.Module):
    """Project to twice the features and gate one half with the GELU (erf form) of the other.

    Attributes:
        features: output width.
        dtype: compute type.
    """

    features: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b n d"]) -> Float[Array, "b n d2"]:
        """Return value * gelu(gate). Source: arXiv:2002.05202, Eq. 6."""
        y = Dense(2 * self.features, dtype=self.dtype, name="proj")(x)
        value, gate = jnp.split(y, 2, axis=-1)
        return value * nn.gelu(gate, approximate=False)


class FeedForward(nn.Module):
    """GEGLU of four times the width, then a linear layer back (parameters net_0/proj, net_2).

    Attributes:
        out_init: initialiser of the second layer.
        dtype: compute type.
    """

    out_init: nn.initializers.Initializer = fan_in_normal
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
        """Return the transformed tokens, without a residual."""
        width = x.shape[-1]
        y = GEGLU(4 * width, self.dtype, name="net_0")(x)
        return Dense(width, kernel_init=self.out_init, dtype=self.dtype, name="net_2")(y)


def cross_attend(
    attention: Attention,
    x: Float[Array, "bt n d"],
    context: Float[Array, "b m d2"],
    there: Bool[Array, "b m"] | None = None,
) -> Float[Array, "bt n d"]:
    """Attend from x to the context of its sample; the batch of x is a multiple of the context's.

    Consecutive entries of x share a context: frames of a video, or pixels of one.
    """
    queries = rearrange(x, "(b r) n d -> b (r n) d", b=context.shape[0])
    return attention(queries, context, there=there).reshape(x.shape)


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention, feed-forward, each normalised and residual.

    Attributes:
        heads: of both attentions.
        cross_attention: whether there is a context (parameters norm2, attn2).
        only_cross_attention: attn1 attends to the context, too.
        dtype: compute type.
    """

    heads: int
    cross_attention: bool = True
    only_cross_attention: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "bt n d"],
        context: Float[Array, "b m d2"] | None,
        there: Bool[Array, "b m"] | None = None,
    ) -> Float[Array, "bt n d"]:
        """Return the tokens after the block; `there` as `SpatialTransformer` has it."""

        def norm(name):
            return LayerNorm(dtype=self.dtype, name=name)

        attn1 = Attention(self.heads, dtype=self.dtype, name="attn1")
        y = norm("norm1")(x)
        across = self.only_cross_attention
        x = x + (cross_attend(attn1, y, context, there) if across else attn1(y))
        if self.cross_attention:
            attn2 = Attention(self.heads, dtype=self.dtype, name="attn2")
            x = x + cross_attend(attn2, norm("norm2")(x), context, there)
        return x + FeedForward(dtype=self.dtype, name="ff")(norm("norm3")(x))


class SpatialTransformer(nn.Module):
    """Transformer over the pixels of each image, residual in image space.

    Parameters: norm, proj_in, transformer_blocks_0, proj_out.

    Attributes:
        heads: of the attentions.
        cross_attention: whether there is a context.
        only_cross_attention: the first attention goes to the context, too.
        linear_projection: dense kernels (in, out) as in SD 2.x, else 1x1 convolutions as in SD 1.x.
        groups: norm groups.
        dtype: compute type.
    """

    heads: int
    cross_attention: bool = True
    only_cross_attention: bool = False
    linear_projection: bool = True
    groups: int = 32
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "bt h w c"],
        context: Float[Array, "b m d"] | None,
        between: Callable[[Array], Array] | None = None,
        there: Bool[Array, "b m"] | None = None,
    ) -> Float[Array, "bt h w c"]:
        """Return x plus the projected tokens.

        Args:
            x: images.
            context: tokens of each image, or of each group of consecutive images.
            between: applied to the tokens (bt, n, c) between the block and proj_out; the place of
                the temporal transformer.
            there: which tokens of the context there are; None for all.
        """
        y = GroupNorm(self.groups, 1e-6, self.dtype, name="norm")(x)
        tokens = rearrange(self._project(y, "proj_in"), "b h w c -> b (h w) c")
        block = TransformerBlock(
            self.heads,
            self.cross_attention,
            self.only_cross_attention,
            self.dtype,
            name="transformer_blocks_0",
        )
        tokens = block(tokens, context, there)
        if between is not None:
            tokens = between(tokens)
        return x + self._project(tokens.reshape(x.shape), "proj_out", zeros)

    def _project(self, x, name, init=None):
        init = fan_in_normal if init is None else init
        if self.linear_projection:
            return Dense(x.shape[-1], kernel_init=init, dtype=self.dtype, name=name)(x)
        return Conv(x.shape[-1], (1, 1), kernel_init=init, dtype=self.dtype, name=name)(x)
