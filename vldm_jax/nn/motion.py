"""AnimateDiff's motion modules, the other family of temporal layers.

    x + proj_out( blocks( proj_in(norm(x)) ) )            over the frames of every pixel

A block is two self-attentions over frames and a feed-forward; each attention adds fixed sinusoids
of the frame's number to its normalised input. A module follows every layer of the U-Net and is
trained without a mixer: `proj_out` starts at zero, so a fresh module returns its input. Parameter
names are diffusers', list indices joined by `_`.

Source: AnimateDiff, arXiv:2307.04725, Sec. 4.2 and its public code; layout as in diffusers'
`MotionAdapter`.
"""

import dataclasses
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange, repeat

from vldm_jax.core.errors import InputError
from vldm_jax.core.fields import COUNT, FLAG, check_fields
from vldm_jax.nn.attention import Attention
from vldm_jax.nn.dense import Dense
from vldm_jax.nn.embeddings import sinusoid
from vldm_jax.nn.init import zeros
from vldm_jax.nn.norm import GroupNorm, LayerNorm
from vldm_jax.nn.stage import StageSpec
from vldm_jax.nn.transformer import FeedForward
from vldm_jax.typing import Array, Bool, DTypeLike, Float


def frame_positions(frames: int, width: int) -> Float[Array, "t c"]:
    """Return sin(p f_k) at 2k and cos(p f_k) at 2k + 1 of each frame p, f_k = 10000^(-2k / width).

    Args:
        frames: number of frames.
        width: even number of features.

    Source: arXiv:1706.03762, Sec. 3.5.
    """
    cos, sin = jnp.split(sinusoid(jnp.arange(frames), width), 2, axis=-1)
    return rearrange([sin, cos], "two t k -> t (k two)")


class MotionBlock(nn.Module):
    """Two self-attentions over frames and a feed-forward, each normalised and residual.

    Parameters: norm1, attn1, norm2, attn2, norm3, ff.

    Attributes:
        heads: of both attentions.
        dtype: compute type.
    """

    heads: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "bn t c"]) -> Float[Array, "bn t c"]:
        """Return the sequences of frames after the block."""

        def norm(name):
            return LayerNorm(dtype=self.dtype, name=name)

        positions = frame_positions(*x.shape[1:]).astype(self.dtype)[None]
        for i in (1, 2):
            attention = Attention(self.heads, dtype=self.dtype, name=f"attn{i}")
            x = x + attention(norm(f"norm{i}")(x) + positions)
        return x + FeedForward(dtype=self.dtype, name="ff")(norm("norm3")(x))


class MotionModule(nn.Module):
    """Transformer over frames at every pixel, added to its input.

    Parameters: norm, proj_in, transformer_blocks_i, proj_out.

    Attributes:
        heads: of the attentions.
        max_frames: longest video that it takes.
        num_blocks: transformer blocks.
        joint_norm: norm statistics over (t, h, w), else over each frame.
        groups: norm groups.
        dtype: compute type.
    """

    heads: int = 8
    max_frames: int = 32
    num_blocks: int = 1
    joint_norm: bool = True
    groups: int = 32
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "bt h w c"],
        *,
        frames: int,
        image_only: Bool[Array, " b"] | None = None,
    ) -> Float[Array, "bt h w c"]:
        """Return x, the output of a layer, plus the motion; flagged samples return x.

        Raises:
            InputError: if there are more frames than `max_frames`, or `heads` does not fit.
        """
        if frames > self.max_frames:
            raise InputError(
                f"motion module: got {frames} frames, but positions end at max_frames "
                f"{self.max_frames}; sample at most that many at a time"
            )
        height, width = x.shape[1:3]
        norm = GroupNorm(self.groups, 1e-6, self.dtype, name="norm")
        if self.joint_norm:
            y = norm(rearrange(x, "(b t) h w c -> b t h w c", t=frames))
            y = rearrange(y, "b t h w c -> (b h w) t c")
        else:
            y = rearrange(norm(x), "(b t) h w c -> (b h w) t c", t=frames)
        y = Dense(x.shape[-1], dtype=self.dtype, name="proj_in")(y)
        for i in range(self.num_blocks):
            y = MotionBlock(self.heads, self.dtype, name=f"transformer_blocks_{i}")(y)
        y = Dense(x.shape[-1], kernel_init=zeros, dtype=self.dtype, name="proj_out")(y)
        out = x + rearrange(y, "(b h w) t c -> (b t) h w c", h=height, w=width)
        if image_only is None:
            return out
        return jnp.where(repeat(image_only, "b -> (b t) 1 1 1", t=frames), x, out)


RULES = {
    "heads": COUNT,
    "max_frames": COUNT,
    "middle": FLAG,
    "num_blocks": COUNT,
    "joint_norm": FLAG,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class MotionSpec:
    """Hyper-parameters of motion modules; widths and groups are the backbone's.

    The published versions: v1 has max_frames=24 and middle=False, v2 the defaults, v3 the defaults
    with middle=False.

    Attributes:
        heads: attention heads at every level.
        max_frames: longest video; positions beyond it were never trained.
        middle: whether the middle stage has a module, too.
        num_blocks: transformer blocks a module.
        joint_norm: norm statistics over all frames as in diffusers, or over each frame as in the
            authors' code.
        made_for: fields of their backbone that the layers depend on; they fit no other values.
    """

    heads: int = 8
    max_frames: int = 32
    middle: bool = True
    num_blocks: int = 1
    joint_norm: bool = True
    made_for: ClassVar[tuple[str, ...]] = ("channels", "layers_per_level", "norm_groups")

    def __post_init__(self):
        check_fields("temporal layers", self, RULES)

    @property
    def takes_maps(self) -> bool:
        """Return that maps beside the frames are not seen: there are no convolutions."""
        return False

    @property
    def fewest_frames(self) -> int:
        """Return the length of the shortest video that has all parameters."""
        return 1

    def residual(self, name: str, spec: StageSpec) -> None:
        """Return None: nothing stands inside a layer."""

    def transformer(self, name: str, spec: StageSpec) -> None:
        """Return None: nothing stands inside a layer."""

    def after_layer(self, name: str, spec: StageSpec) -> nn.Module | None:
        """Return the module that follows a layer."""
        if spec.place == "middle" and not self.middle:
            return None
        return MotionModule(
            self.heads,
            self.max_frames,
            self.num_blocks,
            self.joint_norm,
            spec.groups,
            spec.dtype,
            name=name,
        )
