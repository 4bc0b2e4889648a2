"""The Stable Diffusion U-Net; its fields express the published sizes and small ones (`unet_sizes`).

    conv_in, down stages, middle stage, up stages with skips, norm, SiLU, conv_out

What the network is told beside z comes in a `Conditioning`: text (context), scalar labels as
context tokens, a class such as the upscaler's noise level, and images concatenated to z.
`UNetSkeleton` holds the fields and the forward pass; the video U-Net shares it. Parameter names are
diffusers', list indices joined by `_`.

Source: arXiv:2112.10752 and the public Stable Diffusion 1.x, 2.x and x4-upscaler configurations.
"""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange, repeat

from vldm_jax.core.conditioning import Conditioning
from vldm_jax.core.errors import InputError
from vldm_jax.models.unet_blocks import (
    DownStage,
    MidStage,
    Signals,
    StageSpec,
    TemporalLayers,
    UpStage,
)
from vldm_jax.nn.conv import Conv
from vldm_jax.nn.embeddings import EmbeddingMLP, sinusoid
from vldm_jax.nn.init import zeros
from vldm_jax.nn.labels import LabelTokens
from vldm_jax.nn.norm import GroupNorm
from vldm_jax.typing import Array, DTypeLike, Float, Shaped


class UNetSkeleton(nn.Module):
    """Fields and forward pass shared by `UNet` and `VideoUNet`; not used by itself.

    Attributes:
        channels: of each level, finest first; each level but the last halves height and width.
        attention: whether each level has transformers.
        layers_per_level: residual blocks going down; one more going up.
        out_channels: of the prediction.
        heads: attention heads, at every level or of each; give this (SD 1.x) or `head_dim`. The
            middle has the deepest level's.
        head_dim: channels of one head at every level (SD 2.x).
        context_dim: of the tokens of cross-attention (text and labels); None for no such layers.
        only_cross_attention: levels whose first attention goes to the context, too; () for none.
        linear_projection: dense projections around transformers (SD 2.x), else 1x1 convolutions.
        norm_groups: of every GroupNorm; must divide all channels.
        norm_eps: of the norms in residual blocks, spatial and temporal: one number, or one of each
            stage in running order (down, middle, up). Stable Video Diffusion's differ.
        num_classes: entries of the class embedding; None for no class.
        added_time_ids: how many numbers a sample are embedded and added to the time; 0 for none.
        added_time_width: of the sinusoids of each.
        label_tokens: kind of each scalar label (`nn.labels`); () for no labels.
        dropout: rate in residual blocks.
        remat: recompute each layer in the backward pass instead of storing it.
        dtype: compute type; parameters, norms, softmax, embeddings and the output are float32.
    """

    channels: tuple[int, ...] = (320, 640, 1280, 1280)
    attention: tuple[bool, ...] = (True, True, True, False)
    layers_per_level: int = 2
    out_channels: int = 4
    heads: int | tuple[int, ...] | None = None
    head_dim: int | None = None
    context_dim: int | None = None
    only_cross_attention: tuple[bool, ...] = ()
    linear_projection: bool = True
    norm_groups: int = 32
    norm_eps: float | tuple[float, ...] = 1e-5
    num_classes: int | None = None
    added_time_ids: int = 0
    added_time_width: int = 256
    label_tokens: tuple[str, ...] = ()
    dropout: float = 0.0
    remat: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def denoise(
        self,
        z: Float[Array, "bt h w c"],
        time: Shaped[Array, " b"],
        cond: Conditioning,
        *,
        frames: int,
        temporal: TemporalLayers | None,
        train: bool,
    ) -> Float[Array, "bt h w c2"]:
        """Return the prediction for images; `time` and `cond` have one entry per `frames` images.

        Raises:
            InputError: if `cond` or the fields don't fit the network.
        """
        self._check_fields()
        self._check(cond)
        # One row per image, because spatial layers see images.
        emb = repeat(self._embed_time(time, cond), "b d -> (b t) d", t=frames)
        context, context_temporal = self._contexts(cond)
        signals = Signals(emb, context, context_temporal, cond.image_only, frames, train)
        levels = len(self.channels)
        x = Conv(self.channels[0], dtype=self.dtype, name="conv_in")(z)
        skips = (x,)
        for i in range(levels):
            spec = self._stage(i, temporal)
            x, new = DownStage(spec, i < levels - 1, name=f"down_blocks_{i}")(x, signals)
            skips = (*skips, *new)
        x = MidStage(self._stage(levels, temporal), name="mid_block")(x, signals)
        for i in range(levels):
            spec = self._stage(levels + 1 + i, temporal)
            x, skips = UpStage(spec, i < levels - 1, name=f"up_blocks_{i}")(x, skips, signals)
        # One epsilon is every norm's; where they differ by stage, the last norm keeps the usual.
        eps = 1e-5 if isinstance(self.norm_eps, tuple) else self.norm_eps
        x = nn.silu(GroupNorm(self.norm_groups, eps, self.dtype, name="conv_norm_out")(x))
        x = Conv(self.out_channels, kernel_init=zeros, dtype=self.dtype, name="conv_out")(x)
        return x.astype(jnp.float32)

    def _embed_time(self, time, cond):
        """Embed time, class and added numbers of each sample (b d)."""
        width = 4 * self.channels[0]
        waves = sinusoid(time, self.channels[0])
        emb = EmbeddingMLP(width, width, name="time_embedding")(waves)
        if self.num_classes is not None:
            emb = emb + nn.Embed(self.num_classes, width, name="class_embedding")(cond.class_labels)
        if self.added_time_ids:
            waves = sinusoid(rearrange(cond.added_time_ids, "b k -> (b k)"), self.added_time_width)
            waves = rearrange(waves, "(b k) d -> b (k d)", k=self.added_time_ids)
            emb = emb + EmbeddingMLP(width, width, name="add_embedding")(waves)
        return emb

    def _contexts(self, cond):
        """Append the label tokens to both contexts."""
        spatial = cond.context
        temporal = spatial if cond.context_temporal is None else cond.context_temporal
        if self.label_tokens:
            make = LabelTokens(self.label_tokens, self.context_dim, name="label_tokens")
            tokens = make(cond.labels)
            spatial, temporal = (
                tokens if c is None else jnp.concatenate([c, tokens.astype(c.dtype)], axis=1)
                for c in (spatial, temporal)
            )
        return spatial, temporal

    def _stage(self, index, temporal):
        """Return the spec of a stage, counted in running order: down, middle, up."""
        middle = len(self.channels)
        level = min(index, 2 * middle - index, middle - 1)
        spec = StageSpec(
            features=self.channels[level],
            num_layers=self.layers_per_level + (index > middle),
            heads=self._heads(level) if self.attention[level] else None,
            cross_attention=self.context_dim is not None,
            only_cross_attention=bool(self.only_cross_attention)
            and self.only_cross_attention[level],
            linear_projection=self.linear_projection,
            groups=self.norm_groups,
            eps=self.norm_eps[index] if isinstance(self.norm_eps, tuple) else self.norm_eps,
            dropout=self.dropout,
            temporal=temporal,
            remat=self.remat,
            dtype=self.dtype,
        )
        if index != middle:
            return spec
        heads = self._heads(level) if any(self.attention) else None
        return dataclasses.replace(spec, num_layers=1, heads=heads, only_cross_attention=False)

    def _heads(self, level):
        if (self.heads is None) == (self.head_dim is None):
            raise InputError(
                f"U-Net: heads={self.heads} and head_dim={self.head_dim}; give exactly one of them"
            )
        if self.heads is not None:
            return self.heads[level] if isinstance(self.heads, tuple) else self.heads
        width = self.channels[level]
        if self.head_dim < 1 or width % self.head_dim:
            raise InputError(
                f"U-Net: head_dim {self.head_dim} does not divide the width {width}; choose one "
                "that divides every channel count with attention"
            )
        return width // self.head_dim

    def _check_fields(self):
        levels = len(self.channels)
        wanted = {"attention": levels, "heads": levels, "norm_eps": 2 * levels + 1}
        if self.only_cross_attention:
            wanted["only_cross_attention"] = levels
        for name, entries in wanted.items():
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != entries:
                each = "stage (down, middle, up)" if name == "norm_eps" else "level"
                raise InputError(
                    f"U-Net: {name} {value} must have one entry per {each}: {entries} for "
                    f"channels {self.channels}"
                )

    def _check(self, cond):
        has_context = cond.context is not None or bool(self.label_tokens)
        has_class, has_ids = cond.class_labels is not None, cond.added_time_ids is not None
        pairs = (
            ("context", has_context, "context_dim", self.context_dim is not None),
            ("labels", cond.labels is not None, "label_tokens", bool(self.label_tokens)),
            ("class_labels", has_class, "num_classes", self.num_classes is not None),
            ("added_time_ids", has_ids, "added_time_ids", self.added_time_ids > 0),
        )
        for given_name, given, field, wanted in pairs:
            if given and not wanted:
                raise InputError(
                    f"U-Net: conditioning has {given_name}, but the network has no {field}; set it "
                    f"or leave {given_name} out"
                )
            if wanted and not given:
                raise InputError(
                    f"U-Net: the network has {field}, but the conditioning has no {given_name}"
                )
        if cond.context is not None and cond.context.shape[-1] != self.context_dim:
            raise InputError(
                f"U-Net: context tokens have width {cond.context.shape[-1]}, "
                f"but context_dim is {self.context_dim}; use the text encoder of this network"
            )
        if has_ids and cond.added_time_ids.shape[-1] != self.added_time_ids:
            raise InputError(
                f"U-Net: conditioning has {cond.added_time_ids.shape[-1]} added_time_ids a sample, "
                f"but the network takes {self.added_time_ids}"
            )


class UNet(UNetSkeleton):
    """Denoising network for images; fields as in `UNetSkeleton`."""

    def __call__(
        self,
        z: Float[Array, "b h w c"],
        time: Shaped[Array, " b"],
        cond: Conditioning,
        *,
        train: bool,
    ) -> Float[Array, "b h w c2"]:
        """Return the prediction for noisy latents, float32.

        Args:
            z: scaled noisy latents.
            time: discrete diffusion steps in [0, 1000), fractions allowed.
            cond: conditioning; which fields must be given follows from the network's fields.
            train: whether dropout is on.

        Raises:
            InputError: if `cond` or the fields don't fit the network.
        """
        if cond.concat is not None:
            z = jnp.concatenate([z, cond.concat.astype(z.dtype)], axis=-1)
        return self.denoise(z, time, cond, frames=1, temporal=None, train=train)
