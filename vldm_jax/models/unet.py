"""The Stable Diffusion U-Net; its fields express the published sizes and small ones (`unet_sizes`).

    conv_in, down stages, middle stage, up stages with skips, norm, SiLU, conv_out

With `temporal` it is the video U-Net: spatial layers see (b t) h w c, code and parameter paths
those of the image U-Net, and every one is followed by temporal layers, whose paths have `temporal`
in them. There are two families: Video LDM's, which Stable Video Diffusion shares (`nn.temporal`),
and AnimateDiff's (`nn.motion`). With frozen spatial layers, what is trained is exactly that group,
and it moves between backbones of the same shape.

What the network is told beside z comes in a `Conditioning`; `vldm_jax.conditions` embeds it, but
for images concatenated to z and flags of independent images. Parameter names are diffusers', list
indices joined by `_`.

Source: Align your Latents, arXiv:2304.08818, Sec. 3.1; arXiv:2112.10752 and the public Stable
Diffusion 1.x, 2.x and x4-upscaler configurations; AnimateDiff, arXiv:2307.04725.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange, repeat

from vldm_jax import conditions
from vldm_jax.conditions.added_time_ids import AddedTimeIds
from vldm_jax.conditions.base import Condition, combine
from vldm_jax.conditions.class_labels import ClassLabels
from vldm_jax.conditions.labels import Labels
from vldm_jax.conditions.text import TemporalText, Text
from vldm_jax.core.errors import InputError
from vldm_jax.core.fields import check_fields
from vldm_jax.models.unet_blocks import Stage
from vldm_jax.models.unet_fields import RULES, check_lengths
from vldm_jax.nn.conv import Conv
from vldm_jax.nn.embeddings import EmbeddingMLP, sinusoid
from vldm_jax.nn.init import zeros
from vldm_jax.nn.norm import GroupNorm
from vldm_jax.nn.stage import Signals, StageSpec, TemporalLayers
from vldm_jax.typing import Array, Conditioning, DTypeLike, Float, Shaped


class UNet(nn.Module):
    """Denoising network for images or, with `temporal`, videos.

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
        label_tokens: kind of each scalar label (`conditions.labels`); () for no labels.
        dropout: rate in residual blocks.
        remat: recompute each layer in the backward pass instead of storing it.
        temporal: makes the temporal layers, family and hyper-parameters; None for an image model.
        more_conditions: conditions beside those that the fields above name.
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
    temporal: TemporalLayers | None = None
    more_conditions: tuple[Condition, ...] = ()
    dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        """Look at each field by itself.

        Raises:
            InputError: naming one that no network has.
        """
        check_fields("U-Net", self, RULES)
        super().__post_init__()

    def __call__(
        self,
        z: Float[Array, "b *t h w c"],
        time: Shaped[Array, " b"],
        cond: Conditioning,
        *,
        train: bool = False,
    ) -> Float[Array, "b *t h w c2"]:
        """Return the prediction for noisy latents, float32.

        Args:
            z: scaled noisy latents (b h w c), with temporal layers (b t h w c); all frames of a
                video share its time.
            time: discrete diffusion steps in [0, 1000), fractions allowed.
            cond: conditioning; which keys must be given follows from `conditions`. `concat` is like
                z, or an image that every frame of a video gets.
            train: whether dropout is on, which needs the rng "dropout".

        Raises:
            InputError: if z, `cond`, the fields or the number of frames don't fit.
        """
        axes = "b h w c" if self.temporal is None else "b t h w c"
        if z.ndim != len(axes.split()):
            raise InputError(f"U-Net: z must be {axes}, got shape {z.shape}")
        if self.temporal is None:
            return self.denoise(z, time, cond, frames=1, train=train)
        images = rearrange(z, "b t h w c -> (b t) h w c")
        out = self.denoise(images, time, cond, frames=z.shape[1], train=train)
        return rearrange(out, "(b t) h w c -> b t h w c", b=z.shape[0])

    @nn.compact
    def denoise(
        self,
        z: Float[Array, "bt h w c"],
        time: Shaped[Array, " b"],
        cond: Conditioning,
        *,
        frames: int,
        train: bool,
    ) -> Float[Array, "bt h w c2"]:
        """Return the prediction for images; `time` and `cond` have one entry per `frames` images.

        Raises:
            InputError: if `cond` or the fields don't fit the network.
        """
        check_lengths(self)
        video = self.temporal is not None
        conditions.check(self.conditions, cond, token_width=self.context_dim, video=video)
        if "concat" in cond:
            z = jnp.concatenate([z, _per_frame(cond["concat"], frames).astype(z.dtype)], axis=-1)
        signals = self._signals(time, cond, frames, train)
        x = Conv(self.channels[0], dtype=self.dtype, name="conv_in")(z)
        skips = (x,)
        for index, (name, place, level) in enumerate(self._stages()):
            x, skips = Stage(self._spec(index, place, level), name=name)(x, skips, signals)
        # One epsilon is every norm's; where they differ by stage, the last norm keeps the usual.
        eps = 1e-5 if isinstance(self.norm_eps, tuple) else self.norm_eps
        x = nn.silu(GroupNorm(self.norm_groups, eps, self.dtype, name="conv_norm_out")(x))
        x = Conv(self.out_channels, kernel_init=zeros, dtype=self.dtype, name="conv_out")(x)
        return x.astype(jnp.float32)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Conditions that the network takes, in the order of their context tokens."""
        others: tuple[Condition, ...] = ()
        if self.label_tokens:
            others = (*others, Labels(kinds=self.label_tokens))
        if self.num_classes is not None:
            others = (*others, ClassLabels(num_classes=self.num_classes))
        if self.added_time_ids:
            width = self.added_time_width
            others = (*others, AddedTimeIds(count=self.added_time_ids, sinusoid_width=width))
        others = (*others, *self.more_conditions)
        if self.context_dim is None:
            return others
        alone = not any(condition.gives_tokens for condition in others)
        text: tuple[Condition, ...] = (Text(width=self.context_dim, required=alone),)
        if self.temporal is not None:
            text = (*text, TemporalText(width=self.context_dim))
        return (*text, *others)

    def example_inputs(self, latent: tuple[int, ...], tokens: int | None = None) -> tuple[Any, ...]:
        """Return shapes of z, time and cond.

        Args:
            latent: shape (1 [t] h w c) of z.
            tokens: of the text; None for no text.

        Raises:
            InputError: if there is text for a network without cross-attention.
        """
        cond = conditions.examples(self.conditions, latent)
        cond.pop(Text.key, None)
        if tokens is not None:
            if self.context_dim is None:
                raise InputError("U-Net: there is text, but the network has no context_dim")
            cond[Text.key] = jax.ShapeDtypeStruct((1, tokens, self.context_dim), jnp.float32)
        z, time = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in (latent, (1,)))
        return z, time, cond

    def smallest_inputs(self, channels: int) -> tuple[Any, ...]:
        """Return shapes of the smallest inputs that the network takes; parameters need no more.

        Args:
            channels: of z; the fields don't tell.
        """
        frames = () if self.temporal is None else (self.temporal.fewest_frames,)
        side = 2 ** (len(self.channels) - 1)
        tokens = None if self.context_dim is None else 1
        return self.example_inputs((1, *frames, side, side, channels), tokens)

    def _signals(self, time, cond, frames, train):
        """Embed time and conditions; one row of each embedding per image, as spatial layers see."""
        width = 4 * self.channels[0]
        waves = sinusoid(time, self.channels[0])
        emb = EmbeddingMLP(width, width, name="time_embedding")(waves)
        told = combine(
            emb,
            (
                condition.embed(cond, width=width, token_width=self.context_dim)
                for condition in self.conditions
                if condition.key in cond
            ),
        )
        return Signals(
            emb=repeat(told.emb, "b d -> (b t) d", t=frames),
            emb_temporal=repeat(told.emb_temporal, "b d -> (b t) d", t=frames),
            context=told.context,
            there=told.there,
            context_temporal=told.context_temporal,
            maps=self._pyramid(told.maps),
            image_only=cond.get("image_only"),
            frames=frames,
            train=train,
        )

    def _pyramid(self, maps):
        """Return maps (b t h w c) as images of every level, each half the size of the one before.

        Without biases: maps of zeros are zeros at every level, which is no maps at all.
        """
        if maps is None:
            return None
        if self.temporal is None or not self.temporal.takes_maps:
            raise InputError(
                "U-Net: context frames are seen by temporal convolutions, and the network has "
                "none; leave context_frames out of more_conditions"
            )
        level = rearrange(maps, "b t h w c -> (b t) h w c").astype(self.dtype)
        levels = [level]
        for index in range(1, len(self.channels)):
            halve = Conv(
                maps.shape[-1], stride=2, padding=((1, 1), (1, 1)), use_bias=False,
                dtype=self.dtype, name=f"temporal_maps_{index}",
            )  # fmt: skip
            level = nn.silu(halve(level))
            levels.append(level)
        return tuple(levels)

    def _stages(self):
        """Return name, place and level of every stage in running order."""
        levels = range(len(self.channels))
        return (
            *((f"down_blocks_{level}", "down", level) for level in levels),
            ("mid_block", "middle", levels[-1]),
            *((f"up_blocks_{i}", "up", level) for i, level in enumerate(reversed(levels))),
        )

    def _spec(self, index, place, level):
        """Return the spec of a stage, `index` in running order."""
        middle, per_level = place == "middle", self.layers_per_level
        attention = any(self.attention) if middle else self.attention[level]
        cross = bool(self.only_cross_attention) and self.only_cross_attention[level]
        return StageSpec(
            place=place,
            level=level,
            features=self.channels[level],
            num_layers={"down": per_level, "middle": 2, "up": per_level + 1}[place],
            resample=not middle and level != (0 if place == "up" else len(self.channels) - 1),
            heads=self._heads(level) if attention else None,
            cross_attention=self.context_dim is not None,
            only_cross_attention=cross and not middle,
            linear_projection=self.linear_projection,
            groups=self.norm_groups,
            eps=self.norm_eps[index] if isinstance(self.norm_eps, tuple) else self.norm_eps,
            dropout=self.dropout,
            temporal=self.temporal,
            remat=self.remat,
            dtype=self.dtype,
        )

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


def _per_frame(concat, frames):
    """Return a video's frames, or an image for each frame of a video, as images (b t) h w c."""
    if concat.ndim == 4:
        return repeat(concat, "b h w c -> (b t) h w c", t=frames)
    return rearrange(concat, "b t h w c -> (b t) h w c", t=frames)
