"""Down, middle and up stages of the U-Net, written once for images and videos.

A stage is a row of layers; a layer is a residual block and, where the level has attention, a
spatial transformer. In a video U-Net the spec in `temporal` puts layers of its own after residual
blocks, inside transformers or after whole layers (`TemporalLayers`); it adds parameters under names
with `temporal` and moves no others.
"""

import dataclasses
from typing import ClassVar, Protocol, runtime_checkable

import flax.linen as nn
import jax.numpy as jnp
from flax import struct

from vldm_jax.nn.init import zeros
from vldm_jax.nn.remat import maybe_remat
from vldm_jax.nn.resampling import Downsample, Upsample
from vldm_jax.nn.resnet import ResBlock
from vldm_jax.nn.transformer import SpatialTransformer
from vldm_jax.typing import Array, DTypeLike, PyTree


@struct.dataclass
class Signals:
    """What every layer of one forward pass is told.

    Attributes:
        emb: (bt d) embedding of the diffusion time, one row per image.
        context: (b n d) tokens of spatial cross-attention, or None.
        context_temporal: (b m d2) tokens of temporal cross-attention, or None.
        image_only: (b) samples whose temporal layers are bypassed, or None.
        frames: images per sample; consecutive in the batch.
        train: whether dropout is on.
    """

    emb: PyTree
    context: PyTree
    context_temporal: PyTree
    image_only: PyTree
    frames: int = struct.field(pytree_node=False)
    train: bool = struct.field(pytree_node=False)


@runtime_checkable
class TemporalLayers(Protocol):
    """What makes the temporal layers of a video U-Net, one method a place where they may stand.

    A method returns a module of the name that it is given, or None where there is no layer. Videos
    come as (b t) h w c. Implemented by `nn.temporal.TemporalSpec` and `nn.motion.MotionSpec`.

    Attributes:
        made_for: fields of their backbone that the layers depend on; they fit no other values.
    """

    made_for: ClassVar[tuple[str, ...]]

    def residual(
        self, name: str, groups: int, eps: float, dropout: float, dtype: DTypeLike
    ) -> nn.Module | None:
        """Return what follows a spatial residual block.

        It is called with x (bt h w c), emb (bt d), frames, image_only and train.
        """

    def transformer(
        self, name: str, heads: int, cross_attention: bool, dtype: DTypeLike
    ) -> nn.Module | None:
        """Return what follows the block inside a spatial transformer.

        It is called with tokens (bt n c), context (b m d) or None, frames and image_only.
        """

    def after_layer(
        self, name: str, groups: int, dtype: DTypeLike, middle: bool
    ) -> nn.Module | None:
        """Return what follows a residual block and its transformer; `middle` in the middle stage.

        It is called with x (bt h w c), frames and image_only.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageSpec:
    """Hyper-parameters of one stage.

    Attributes:
        features: channels of every layer.
        num_layers: residual blocks.
        heads: of the transformers; None for a stage without attention.
        cross_attention: whether transformers attend to a context.
        only_cross_attention: whether their first attention does, too.
        linear_projection: as in `SpatialTransformer`.
        groups: norm groups.
        eps: of the norms of residual blocks, spatial and temporal.
        dropout: rate in residual blocks.
        temporal: makes the temporal layers; None in an image model.
        remat: recompute each layer in the backward pass.
        dtype: compute type.
    """

    features: int
    num_layers: int
    heads: int | None
    cross_attention: bool
    only_cross_attention: bool
    linear_projection: bool
    groups: int
    eps: float
    dropout: float
    temporal: TemporalLayers | None
    remat: bool
    dtype: DTypeLike


def residual(spec: StageSpec, index: int, x: Array, signals: Signals) -> Array:
    """Apply residual block `index` of the calling module, and its temporal one."""
    block = ResBlock(
        spec.features,
        spec.groups,
        spec.eps,
        spec.dropout,
        out_init=zeros,
        dtype=spec.dtype,
        name=f"resnets_{index}",
    )
    x = block(x, signals.emb, train=signals.train)
    if spec.temporal is None:
        return x
    block = spec.temporal.residual(
        f"temporal_resnets_{index}", spec.groups, spec.eps, spec.dropout, spec.dtype
    )
    if block is None:
        return x
    return block(
        x,
        signals.emb,
        frames=signals.frames,
        image_only=signals.image_only,
        train=signals.train,
    )


def transformer(spec: StageSpec, index: int, x: Array, signals: Signals) -> Array:
    """Apply transformer `index` of the calling module, with its temporal one inside."""
    inner = None
    if spec.temporal is not None:
        inner = spec.temporal.transformer(
            f"temporal_attentions_{index}", spec.heads, spec.cross_attention, spec.dtype
        )

    def between(tokens):
        return inner(
            tokens,
            signals.context_temporal,
            frames=signals.frames,
            image_only=signals.image_only,
        )

    outer = SpatialTransformer(
        spec.heads,
        spec.cross_attention,
        spec.only_cross_attention,
        spec.linear_projection,
        spec.groups,
        spec.dtype,
        name=f"attentions_{index}",
    )
    return outer(x, signals.context, None if inner is None else between)


def after_layer(spec: StageSpec, index: int, x: Array, signals: Signals, middle: bool) -> Array:
    """Apply what follows layer `index` of the calling module, if the temporal family has it."""
    if spec.temporal is None:
        return x
    name = f"temporal_motion_modules_{index}"
    last = spec.temporal.after_layer(name, spec.groups, spec.dtype, middle)
    if last is None:
        return x
    return last(x, frames=signals.frames, image_only=signals.image_only)


def layer(module: nn.Module, index: int, x: Array, signals: Signals, middle: bool = False) -> Array:
    """Apply layer `index` of a stage: residual block, then transformer if the stage has them."""
    spec = module.spec

    def run(_, x, signals):
        x = residual(spec, index, x, signals)
        if spec.heads is not None:
            x = transformer(spec, index, x, signals)
        return after_layer(spec, index, x, signals, middle)

    return maybe_remat(run, spec.remat)(module, x, signals)


class DownStage(nn.Module):
    """Layers, then halving (parameters resnets_i, attentions_i, downsamplers_0).

    Attributes:
        spec: of the layers.
        downsample: whether the stage ends in a halving.
    """

    spec: StageSpec
    downsample: bool

    @nn.compact
    def __call__(self, x: Array, signals: Signals) -> tuple[Array, tuple[Array, ...]]:
        """Return the result and every intermediate that the up path takes, in order."""
        skips = ()
        for i in range(self.spec.num_layers):
            x = layer(self, i, x, signals)
            skips = (*skips, x)
        if self.downsample:
            x = Downsample(dtype=self.spec.dtype, name="downsamplers_0")(x)
            skips = (*skips, x)
        return x, skips


class MidStage(nn.Module):
    """Residual block, transformer, residual block.

    Attributes:
        spec: of the layers; without heads there is no transformer.
    """

    spec: StageSpec

    @nn.compact
    def __call__(self, x: Array, signals: Signals) -> Array:
        """Return x after the three layers."""
        x = layer(self, 0, x, signals, middle=True)

        def last(_, x, signals):
            return residual(self.spec, 1, x, signals)

        return maybe_remat(last, self.spec.remat)(self, x, signals)


class UpStage(nn.Module):
    """Layers that each take a skip, then doubling (resnets_i, attentions_i, upsamplers_0).

    Attributes:
        spec: of the layers.
        upsample: whether the stage ends in a doubling.
    """

    spec: StageSpec
    upsample: bool

    @nn.compact
    def __call__(
        self, x: Array, skips: tuple[Array, ...], signals: Signals
    ) -> tuple[Array, tuple[Array, ...]]:
        """Return the result and the skips that are left; they are taken from the end."""
        for i in range(self.spec.num_layers):
            x = jnp.concatenate([x, skips[-1]], axis=-1)
            skips = skips[:-1]
            x = layer(self, i, x, signals)
        if self.upsample:
            size = skips[-1].shape[1:3]
            x = Upsample(self.spec.dtype, name="upsamplers_0")(x, size)
        return x, skips
