"""The temporal layers: what turns an image U-Net into a video U-Net.

A temporal residual block follows every spatial residual block, a temporal transformer follows every
spatial transformer block, and each ends in a learned blend with the spatial output (`nn.mixer`).
`TemporalSpec` holds their hyper-parameters and makes both. All last layers start at zero, so that a
freshly inserted layer returns its input and the video U-Net *is* the image U-Net, frame by frame.

Source: Align your Latents, arXiv:2304.08818, Sec. 3.1 and App. D; inner parts as in the authors'
Stable Video Diffusion code, which reproduces the paper's parameter counts.
Deviation: zero initialisation (the authors' code perturbs the image model at step 0).
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange

from vldm_jax.core.errors import InputError
from vldm_jax.core.fields import COUNT, FLAG, NATURAL, NUMBER, check_fields, optional
from vldm_jax.nn.attention import Attention
from vldm_jax.nn.dense import Dense
from vldm_jax.nn.embeddings import EmbeddingMLP, sinusoid
from vldm_jax.nn.frames import FrameSplit
from vldm_jax.nn.init import zeros
from vldm_jax.nn.mixer import Mixer
from vldm_jax.nn.norm import GroupNorm, LayerNorm
from vldm_jax.nn.stage import StageSpec
from vldm_jax.nn.temporal_conv import TemporalConv
from vldm_jax.nn.transformer import FeedForward, cross_attend
from vldm_jax.typing import Array, Bool, DTypeLike, Float

RULES = {
    "num_frames": optional(COUNT),
    "mix_logit": NUMBER,
    "max_frame_distance": optional(NATURAL),
    "convolutions": FLAG,
}
MIXES = ("scalar", "per_frame")
POSITIONS = ("absolute", "relative")
NORMS = ("joint", "per_frame")


class TemporalResBlock(nn.Module):
    """Residual block of two temporal convolutions, blended with its input.

    Norm statistics are joint over (t, h, w), by which every frame depends a little on all, or each
    frame's own. Parameters: norm1, conv1, conv1_maps (with maps),
    time_emb_proj (with an embedding), norm2, conv2, mixer. Maps beside the frames are further
    channels of the first convolution; their part of its kernel is a parameter of its own, zero when
    fresh, so that layers from before it load and go on as they were. Source: Sec. 3.1 and 3.2;
    Blattmann et al., arXiv:2311.15127.

    Attributes:
        make_mixer: makes the blend.
        groups: norm groups.
        eps: of the norms.
        dropout: rate before the second convolution.
        dtype: compute type.
        split: how frames lie on devices; None where all are here.
        joint_norms: whether norm statistics are joint over the frames.
    """

    make_mixer: Callable[..., nn.Module]
    groups: int = 32
    eps: float = 1e-5
    dropout: float = 0.0
    dtype: DTypeLike = jnp.float32
    split: FrameSplit | None = None
    joint_norms: bool = True

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "bt h w c"],
        emb: Float[Array, "bt d"] | None = None,
        *,
        maps: Float[Array, "bt h w c2"] | None = None,
        frames: int,
        image_only: Bool[Array, " b"] | None = None,
        train: bool,
    ) -> Float[Array, "bt h w c"]:
        """Return the blend of x, the output of a spatial residual block, with the block's."""
        width = x.shape[-1]
        conv = functools.partial(TemporalConv, width, dtype=self.dtype, split=self.split)
        x = rearrange(x, "(b t) h w c -> b t h w c", t=frames)
        y = nn.silu(self._norm("norm1", x))
        y = conv(name="conv1")(y)
        if maps is not None:
            beside = rearrange(maps, "(b t) h w c -> b t h w c", t=frames)
            y = y + conv(kernel_init=zeros, use_bias=False, name="conv1_maps")(beside)
        if emb is not None:
            shift = Dense(width, dtype=self.dtype, name="time_emb_proj")(nn.silu(emb))
            y = y + rearrange(shift, "(b t) c -> b t 1 1 c", t=frames)
        y = nn.silu(self._norm("norm2", y))
        y = nn.Dropout(self.dropout, deterministic=not train)(y)
        y = conv(kernel_init=zeros, name="conv2")(y)
        out = self.make_mixer(dtype=self.dtype, name="mixer")(x, x + y, image_only)
        return rearrange(out, "b t h w c -> (b t) h w c")

    def _norm(self, name, x):
        """Normalise (b t h w c) over all frames, or each by itself."""
        split = self.split if self.joint_norms else None
        norm = GroupNorm(self.groups, self.eps, self.dtype, split, name=name)
        if self.joint_norms:
            return norm(x)
        frames = norm(rearrange(x, "b t h w c -> (b t) h w c"))
        return rearrange(frames, "(b t) h w c -> b t h w c", t=x.shape[1])


class TemporalTransformer(nn.Module):
    """Transformer over frames at every pixel, blended with its input.

    Frame positions, feed-forward, self-attention over frames, cross-attention to the tokens of the
    video, feed-forward. Parameters: position, norm_in, ff_in, norm1, attn1, norm2, attn2, norm3,
    ff, mixer. Source: Sec. 3.1; arXiv:2311.15127.

    Relative positions (App. D asks for them, the formula is ours): with r_d = MLP(sinusoid(d)),
    logits_ij = q_i (k_j + r_{j-i}) / sqrt(e), so that longer videos reuse what shorter ones taught.

    Attributes:
        make_mixer: makes the blend.
        heads: as in the spatial transformer.
        positions: "absolute" (added to the tokens) or "relative" (added to the keys).
        max_frame_distance: frames further apart don't attend to each other; None for no limit.
        cross_attention: whether there is a context.
        dtype: compute type.
    """

    make_mixer: Callable[..., nn.Module]
    heads: int
    positions: str = "absolute"
    max_frame_distance: int | None = None
    cross_attention: bool = True
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "bt n c"],
        context: Float[Array, "b m d"] | None,
        *,
        frames: int,
        image_only: Bool[Array, " b"] | None = None,
    ) -> Float[Array, "bt n c"]:
        """Return the blend of x, the tokens after a spatial transformer block, with the block's."""
        pixels = x.shape[1]
        spatial = rearrange(x, "(b t) n c -> b t n c", t=frames)
        y = rearrange(x, "(b t) n c -> (b n) t c", t=frames)
        y = self._transform(y, context)
        temporal = rearrange(y, "(b n) t c -> b t n c", n=pixels)
        out = self.make_mixer(dtype=self.dtype, name="mixer")(spatial, temporal, image_only)
        return rearrange(out, "b t n c -> (b t) n c")

    def _transform(self, x, context):
        """Apply the block to sequences of frames (b n) t c."""

        def norm(name, x):
            return LayerNorm(dtype=self.dtype, name=name)(x)

        def attention(name):
            return Attention(self.heads, out_init=zeros, dtype=self.dtype, name=name)

        def feed_forward(name):
            return FeedForward(zeros, self.dtype, name=name)

        table = self._positions(x.shape[1], x.shape[-1])
        absolute = self.positions == "absolute"
        if absolute:
            # Cast after broadcasting, so that the gradient is summed over sequences in float32.
            x = x + jnp.broadcast_to(table[None], x.shape).astype(self.dtype)
        x = x + feed_forward("ff_in")(norm("norm_in", x))
        relative = None if absolute else table
        band = frame_band(x.shape[1], self.max_frame_distance)
        x = x + attention("attn1")(norm("norm1", x), relative_keys=relative, mask=band)
        if self.cross_attention:
            x = x + cross_attend(attention("attn2"), norm("norm2", x), context)
        return x + feed_forward("ff")(norm("norm3", x))

    def _positions(self, frames, width):
        """Return embeddings of positions (t, c), or of the offsets j - i (t, t, c)."""
        embed = EmbeddingMLP(4 * width, width, zeros, name="position")
        if self.positions == "absolute":
            return embed(sinusoid(jnp.arange(frames), width))
        offsets = embed(sinusoid(jnp.arange(1 - frames, frames), width))
        index = jnp.arange(frames)[None, :] - jnp.arange(frames)[:, None]
        return offsets[index + frames - 1]


def frame_band(frames: int, max_distance: int | None) -> Bool[Array, "t t"] | None:
    """Return True where |i - j| <= max_distance, or None where that holds everywhere."""
    if max_distance is None or max_distance >= frames - 1:
        return None
    index = jnp.arange(frames)
    return jnp.abs(index[:, None] - index[None, :]) <= max_distance


@dataclasses.dataclass(frozen=True, kw_only=True)
class TemporalSpec:
    """Hyper-parameters of the temporal layers; widths, heads and groups are the backbone's.

    Attributes:
        mix: "scalar" or "per_frame".
        num_frames: number of frames of a per-frame mix.
        mix_logit: initial logit of the mix.
        positions: "absolute" or "relative" frame positions.
        max_frame_distance: reach of temporal self-attention in frames; None for all. Set at
            sampling time to run far beyond the trained length (App. D: 8).
        convolutions: False leaves the residual blocks of temporal convolutions out (the paper's
            attention-only ablation, Table 1).
        norms: statistics of the residual blocks' norms, "joint" over all frames (the authors'
            code), or "per_frame": with a limit of distance, frames far apart then never meet.
        made_for: fields of their backbone that the layers depend on; they fit no other values.
    """

    mix: str = "scalar"
    num_frames: int | None = None
    mix_logit: float = 0.0
    positions: str = "absolute"
    max_frame_distance: int | None = None
    convolutions: bool = True
    norms: str = "joint"
    made_for: ClassVar[tuple[str, ...]] = (
        "channels",
        "attention",
        "layers_per_level",
        "heads",
        "head_dim",
        "context_dim",
        "norm_groups",
        "norm_eps",
        "label_tokens",
    )

    def __post_init__(self):
        for name, options in (("mix", MIXES), ("positions", POSITIONS), ("norms", NORMS)):
            if getattr(self, name) not in options:
                value = getattr(self, name)
                raise InputError(f"temporal {name} '{value}' is unknown; use one of {options}")
        check_fields("temporal layers", self, RULES)
        if (self.mix == "per_frame") != (self.num_frames is not None):
            raise InputError(
                f"temporal mix '{self.mix}' with num_frames {self.num_frames}: give num_frames "
                "with mix 'per_frame', and None with 'scalar'"
            )

    @property
    def takes_maps(self) -> bool:
        """Return whether maps beside the frames are seen: by temporal convolutions."""
        return self.convolutions

    @property
    def fewest_frames(self) -> int:
        """Return the length of the shortest video that has all parameters."""
        return self.num_frames or 1

    def residual(self, name: str, spec: StageSpec) -> nn.Module | None:
        """Return the layer that follows a spatial residual block; None without convolutions."""
        if not self.convolutions:
            return None
        return TemporalResBlock(
            self._mixer(), spec.groups, spec.eps, spec.dropout, spec.dtype,
            joint_norms=self.norms == "joint", name=name,
        )  # fmt: skip

    def transformer(self, name: str, spec: StageSpec) -> nn.Module:
        """Return the layer that follows a spatial transformer block."""
        return TemporalTransformer(
            self._mixer(),
            spec.heads,
            self.positions,
            self.max_frame_distance,
            spec.cross_attention,
            spec.dtype,
            name=name,
        )

    def after_layer(self, name: str, spec: StageSpec) -> None:
        """Return None: every temporal layer of this family stands inside a layer."""

    def _mixer(self):
        return functools.partial(
            Mixer, mix=self.mix, num_frames=self.num_frames, init_logit=self.mix_logit
        )
