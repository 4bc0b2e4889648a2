"""Decoding a part at a time: memory that does not grow with a video's length or size.

    windows   of a few frames; a window is decoded with frames of its neighbours on both sides, and
              what these are decoded to is discarded: every frame that is kept has seen as many
              before and behind it, except at the ends of the video
    tiles     of a few latents, decoded one by one and blended linearly where they overlap

Windows and tiles have one shape each, so one compiled program decodes a video of any length. Where
a decoder looks no further than the overlap, the parts are the whole, exactly; a temporal decoder
looks further (its norms see all frames, its attention all pixels), and the difference is one of
what it was trained for: `docs/decoding.md` has it measured. `parallel.frames` decodes exactly.

Everything here is a function of arrays, traceable; `decode` is z (b [t] h w c) -> frames.

Source: arXiv:2304.08818 says nothing of it; overlap and discard as in Stable Video Diffusion's
users' remedies, blended tiles as in diffusers' `AutoencoderKL.tiled_decode`.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from vldm_jax.core.errors import InputError
from vldm_jax.core.fields import COUNT, NATURAL, Rule, check_fields, optional, several
from vldm_jax.typing import Array, Float, Int

Decode: TypeAlias = Callable[[Array], Array]
PAIR = Rule(lambda v: several(COUNT, 2).holds(v) and len(v) == 2, "(height, width) in latents")
RULES = {
    "frames": optional(COUNT), "overlap": NATURAL, "tile": optional(PAIR), "blend": NATURAL,
}  # fmt: skip


class Window(NamedTuple):
    """Some frames that are decoded together.

    Attributes:
        start: first of them.
        first: of them, the first that is kept.
        last: one behind the last that is kept.
    """

    start: int
    first: int
    last: int


def windows(total: int, frames: int, overlap: int) -> tuple[Window, ...]:
    """Return windows of one length that keep every frame of a video once.

    Args:
        total: frames of the video.
        frames: of a window; a shorter video is one window.
        overlap: frames that are discarded on each side of a joint.

    Raises:
        InputError: if nothing of a window would be left.
    """
    if frames - 2 * overlap < 1:
        raise InputError(
            f"windows of {frames} frames that overlap by {overlap} on both sides keep none: take "
            f"at least {2 * overlap + 1} frames, or less overlap"
        )
    begins = starts(total, frames, frames - 2 * overlap)
    kept = [0, *(start + overlap for start in begins[1:]), total]
    return tuple(
        Window(int(start), first, last)
        for start, first, last in zip(begins, kept[:-1], kept[1:], strict=True)
    )


def starts(total: int, length: int, step: int) -> list[int]:
    """Return where parts of a length begin: every `step`, and the last one at the end."""
    last = max(total - length, 0)
    return [*range(0, last, step), last]


def in_windows(
    decode: Decode, z: Float[Array, "b t h w c"], *, frames: int, overlap: int
) -> Float[Array, "b t H W 3"]:
    """Return a decoded video, made window by window in one compiled program.

    Args:
        decode: z (b frames h w c) -> (b frames H W 3).
        z: latents of a video.
        frames: of a window; a shorter video is decoded whole.
        overlap: frames that are discarded on each side of a joint.

    Raises:
        InputError: as `windows`.
    """
    table = windows(z.shape[1], frames, overlap)
    if len(table) == 1:
        return decode(z)
    shape = jax.eval_shape(decode, z[:, :frames])
    whole = jnp.zeros((z.shape[0], z.shape[1], *shape.shape[2:]), shape.dtype)

    def one(video: Array, window: Window) -> tuple[Array, None]:
        part = decode(lax.dynamic_slice_in_dim(z, window.start, frames, axis=1))
        before = lax.dynamic_slice_in_dim(video, window.start, frames, axis=1)
        # What is too late in a window is written over by the next one.
        kept = window.start + jnp.arange(frames) >= window.first
        both = jnp.where(kept.reshape(1, -1, 1, 1, 1), part, before)
        return lax.dynamic_update_slice_in_dim(video, both, window.start, axis=1), None

    columns = Window(*(jnp.asarray(column, jnp.int32) for column in zip(*table, strict=True)))
    return lax.scan(one, whole, columns)[0]


def stream_windows(
    decode: Decode, z: Float[Array, "b t h w c"], *, frames: int, overlap: int
) -> Iterator[Array]:
    """Yield a decoded video in its order, some frames at a time, as `in_windows` returns it.

    Nothing of it is kept here, so a video of any length can go to its file.

    Args:
        decode: z (b frames h w c) -> (b frames H W 3), compiled by the caller.
        z: latents of a video.
        frames: of a window.
        overlap: frames that are discarded on each side of a joint.

    Raises:
        InputError: as `windows`.
    """
    for start, first, last in windows(z.shape[1], frames, overlap):
        yield decode(z[:, start : start + frames])[:, first - start : last - start]


def in_tiles(
    decode: Decode, z: Float[Array, "b *t h w c"], *, tile: tuple[int, ...], blend: int
) -> Float[Array, "b *t H W 3"]:
    """Return decoded frames, made tile by tile and blended where these overlap.

    Args:
        decode: z (b [t] h w c) -> (b [t] H W 3), for any height and width.
        z: latents.
        tile: height and width of a tile in latents; a smaller picture is decoded whole.
        blend: latents by which neighbouring tiles overlap.

    Raises:
        InputError: if tiles overlap by as much as they have.
    """
    size = z.shape[-3:-1]
    tile = (min(tile[0], size[0]), min(tile[1], size[1]))
    if tile == size:
        return decode(z)
    cut = tuple(m for n, m in zip(size, tile, strict=True) if m < n)
    _check_blend(cut, blend)
    begins = [starts(n, m, max(m - blend, 1)) for n, m in zip(size, tile, strict=True)]
    some = jax.eval_shape(decode, z[..., : tile[0], : tile[1], :]).shape
    factor, leading = some[-3] // tile[0], z.ndim - 3
    rows, columns = (
        jnp.asarray(_weights(begins[i], size[i], tile[i], factor), jnp.float32) for i in range(2)
    )
    whole = jnp.zeros((*z.shape[:-3], *(factor * n for n in size), some[-1]), jnp.float32)

    def one(picture: Array, which: Int[Array, " 2"]) -> tuple[Array, None]:
        row, column = which
        at = [jnp.asarray(axis)[i] for axis, i in zip(begins, which, strict=True)]
        weight = (rows[row][:, None] * columns[column][None])[..., None]
        part = decode(_part(z, at, tile)) * weight.reshape(*(1,) * leading, *weight.shape)
        there = [factor * place for place in at]
        both = _part(picture, there, some[-3:-1]) + part
        return lax.dynamic_update_slice(picture, both, (*(0,) * leading, *there, 0)), None

    every = np.stack(np.meshgrid(*(range(len(axis)) for axis in begins), indexing="ij"), -1)
    return lax.scan(one, whole, jnp.asarray(every.reshape(-1, 2)))[0]


def _check_blend(tile: tuple[int, ...], blend: int) -> None:
    if blend >= min(tile):
        sides = "x".join(map(str, tile))
        raise InputError(f"tiles of {sides} latents cannot overlap by {blend}: take less")


def _part(x: Array, place: list[Array], size: tuple[int, ...]) -> Array:
    """Return the part of pictures (... h w c) of a size at a place."""
    for axis, (start, length) in enumerate(zip(place, size, strict=True)):
        x = lax.dynamic_slice_in_dim(x, start, length, axis=x.ndim - 3 + axis)
    return x


def _weights(
    begins: list[int], total: int, length: int, factor: int
) -> Float[np.ndarray, "tiles pixels"]:
    """Return the weight of each pixel of each tile along an axis; those at a place add up to 1."""
    whole = np.zeros((len(begins), factor * total))
    for i, start in enumerate(begins):
        ramp = np.ones(factor * length)
        for neighbour, side in ((i - 1, ramp), (i + 1, ramp[::-1])):
            if 0 <= neighbour < len(begins):
                shared = factor * (length - abs(start - begins[neighbour]))
                side[:shared] = np.minimum(side[:shared], (np.arange(shared) + 0.5) / shared)
        whole[i, factor * start : factor * (start + length)] = ramp
    whole /= whole.sum(axis=0)
    return np.stack([whole[i, factor * s : factor * (s + length)] for i, s in enumerate(begins)])


@dataclasses.dataclass(frozen=True, kw_only=True)
class InParts:
    """How much of a video is decoded at once.

    Attributes:
        frames: of a window; None for all.
        overlap: frames that are discarded on each side of a joint.
        tile: height and width of a tile in latents; None for the whole picture.
        blend: latents by which tiles overlap.
    """

    frames: int | None = None
    overlap: int = 0
    tile: tuple[int, ...] | None = None
    blend: int = 0

    def __post_init__(self) -> None:
        """Look at each field, and at those that go together.

        Raises:
            InputError: naming what cannot be.
        """
        check_fields("decoding in parts", self, RULES)
        if self.frames is not None:
            windows(1, self.frames, self.overlap)
        if self.tile is not None:
            _check_blend(self.tile, self.blend)

    def __call__(self, decode: Decode, z: Float[Array, "b *t h w c"]) -> Float[Array, "b *t H W 3"]:
        """Return decoded images or videos.

        Args:
            decode: z (b [t] h w c) -> frames (b [t] H W 3).
            z: latents.

        Raises:
            InputError: as `windows` and `in_tiles`.
        """
        if self.tile is not None:
            decode = functools.partial(in_tiles, decode, tile=self.tile, blend=self.blend)
        if self.frames is None or z.ndim == 4:
            return decode(z)
        return in_windows(decode, z, frames=self.frames, overlap=self.overlap)
