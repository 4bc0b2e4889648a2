"""What the layers of a U-Net's stage are made from and told, spatial and temporal alike.

A stage is one level on the way down or up, or the middle. `TemporalLayers` is what a family of
temporal layers offers: a spec in a file of its own (`nn.temporal`, `nn.motion`) and a row in the
table of families.
"""

import dataclasses
from typing import ClassVar, Protocol, runtime_checkable

import flax.linen as nn
from flax import struct

from vldm_jax.typing import DTypeLike, PyTree


@struct.dataclass
class Signals:
    """What every layer of one forward pass is told.

    Attributes:
        emb: (bt d) embedding of the diffusion time and more, one row per image.
        emb_temporal: (bt d) the same and what temporal layers alone are told.
        context: (b n d) tokens of spatial cross-attention, or None.
        there: (b n) which of these there are, or None for all.
        context_temporal: (b m d2) tokens of temporal cross-attention, or None.
        maps: of each level, finest first, (bt h w c) beside the frames for temporal convolutions;
            None for nothing.
        image_only: (b) samples whose temporal layers are bypassed, or None.
        frames: images per sample; consecutive in the batch.
        train: whether dropout is on.
    """

    emb: PyTree
    emb_temporal: PyTree
    context: PyTree
    there: PyTree
    context_temporal: PyTree
    maps: PyTree
    image_only: PyTree
    frames: int = struct.field(pytree_node=False)
    train: bool = struct.field(pytree_node=False)


@runtime_checkable
class TemporalLayers(Protocol):
    """What makes the temporal layers of a video U-Net, one method a place where they may stand.

    A frozen dataclass whose fields are JSON values. A method returns a module of the name that it
    is given, or None where there is no layer. Videos come as (b t) h w c.

    Attributes:
        fewest_frames: length of the shortest video that has all parameters.
        takes_maps: whether residual layers see maps beside the frames.
        made_for: fields of their backbone that the layers depend on; they fit no other values.
    """

    made_for: ClassVar[tuple[str, ...]]

    @property
    def fewest_frames(self) -> int:
        """Return the length of the shortest video that has all parameters."""

    @property
    def takes_maps(self) -> bool:
        """Return whether residual layers see maps beside the frames."""

    def residual(self, name: str, spec: "StageSpec") -> nn.Module | None:
        """Return what follows a spatial residual block.

        It is called with x (bt h w c), emb (bt d), maps (bt h w c2) or None, frames, image_only
        and train.
        """

    def transformer(self, name: str, spec: "StageSpec") -> nn.Module | None:
        """Return what follows the block inside a spatial transformer.

        It is called with tokens (bt n c), context (b m d) or None, frames and image_only.
        """

    def after_layer(self, name: str, spec: "StageSpec") -> nn.Module | None:
        """Return what follows a residual block and its transformer.

        It is called with x (bt h w c), frames and image_only.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageSpec:
    """Hyper-parameters of one stage.

    Attributes:
        place: "down", "middle" or "up".
        level: index of its resolution, 0 the finest; the middle has the coarsest.
        features: channels of every layer.
        num_layers: residual blocks.
        resample: whether it ends in a halving (down) or a doubling (up).
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

    place: str
    level: int
    features: int
    num_layers: int
    resample: bool
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
