"""The stages of the U-Net, written once for all places in it and for images and videos.

    down    every layer's result is a skip; then halving, whose result is one, too
    middle  residual block, transformer, residual block
    up      every layer takes a skip, from the end; then doubling

A layer is a residual block and, where the level has attention, a spatial transformer. In a video
U-Net the spec in `temporal` puts layers of its own after residual blocks, inside transformers or
after whole layers (`nn.stage.TemporalLayers`); it adds parameters under names with `temporal` and
moves no others.
"""

import flax.linen as nn
import jax.numpy as jnp

from vldm_jax.nn.init import zeros
from vldm_jax.nn.remat import maybe_remat
from vldm_jax.nn.resampling import Downsample, Upsample
from vldm_jax.nn.resnet import ResBlock
from vldm_jax.nn.stage import Signals, StageSpec
from vldm_jax.nn.transformer import SpatialTransformer
from vldm_jax.typing import Array


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
    block = spec.temporal and spec.temporal.residual(f"temporal_resnets_{index}", spec)
    if block is None:
        return x
    return block(
        x,
        signals.emb_temporal,
        maps=None if signals.maps is None else signals.maps[spec.level],
        frames=signals.frames,
        image_only=signals.image_only,
        train=signals.train,
    )


def transformer(spec: StageSpec, index: int, x: Array, signals: Signals) -> Array:
    """Apply transformer `index` of the calling module, with its temporal one inside."""
    inner = spec.temporal and spec.temporal.transformer(f"temporal_attentions_{index}", spec)

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
    return outer(x, signals.context, None if inner is None else between, signals.there)


def after_layer(spec: StageSpec, index: int, x: Array, signals: Signals) -> Array:
    """Apply what follows layer `index` of the calling module, if the temporal family has it."""
    last = spec.temporal and spec.temporal.after_layer(f"temporal_motion_modules_{index}", spec)
    if last is None:
        return x
    return last(x, frames=signals.frames, image_only=signals.image_only)


class Stage(nn.Module):
    """A row of layers (parameters resnets_i, attentions_i, downsamplers_0, upsamplers_0).

    Attributes:
        spec: of the layers.
    """

    spec: StageSpec

    @nn.compact
    def __call__(
        self, x: Array, skips: tuple[Array, ...], signals: Signals
    ) -> tuple[Array, tuple[Array, ...]]:
        """Return the result and the skips: more of them going down, fewer going up."""
        spec = self.spec
        for i in range(spec.num_layers):
            if spec.place == "up":
                x, skips = jnp.concatenate([x, skips[-1]], axis=-1), skips[:-1]
            x = self._layer(i, x, signals)
            if spec.place == "down":
                skips = (*skips, x)
        if not spec.resample:
            return x, skips
        if spec.place == "up":
            size = skips[-1].shape[1:3]
            return Upsample(spec.dtype, name="upsamplers_0")(x, size), skips
        x = Downsample(dtype=spec.dtype, name="downsamplers_0")(x)
        return x, (*skips, x)

    def _layer(self, index, x, signals):
        spec = self.spec
        bare = spec.place == "middle" and index > 0  # nothing follows its last residual block

        def run(_, x, signals):
            x = residual(spec, index, x, signals)
            if bare:
                return x
            if spec.heads is not None:
                x = transformer(spec, index, x, signals)
            return after_layer(spec, index, x, signals)

        return maybe_remat(run, spec.remat)(self, x, signals)
