"""From low-resolution frames to frames of four times their height and width.

    for each chunk:  noise of its frames -> solver, told the noised low frames -> decoder -> uint8

An upsampler has the parts of a `Sampler`, and chunks and tiles beside (`upsampling.py`). The video
may be of any length: `stream` makes it chunk by chunk with one compiled program and hands each on
as soon as it is there; `frames` is the same as one program. The network may be one of images, which
sees each frame by itself.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from vldm_jax.core.errors import InputError
from vldm_jax.core.rng import stream
from vldm_jax.diffusion.denoiser import make_denoiser
from vldm_jax.diffusion.guidance import Away, guided
from vldm_jax.diffusion.process import noised
from vldm_jax.diffusion.schedules import Schedule
from vldm_jax.sampling.loop import sample
from vldm_jax.sampling.maker import FrameMaker, to_frames, to_uint8
from vldm_jax.sampling.noise import sample_keys
from vldm_jax.sampling.sampler import Guidance
from vldm_jax.sampling.solvers.base import Solver
from vldm_jax.sampling.upsampling import FACTOR, continued, enlarge, frame_noise, in_tiles, starts
from vldm_jax.typing import Array, Bool, Conditioning, Float, Int, Key, PyTree, UInt8

LOW = "low_video"  # key of what samples are made of: (b t h w 3) bytes
STREAMS = ("noise", "solver", "low")  # of an upsampler, each drawn from independently


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Upsampler(FrameMaker):
    """The parts that upsample.

    Attributes:
        network: (params, z (b t h w c), time (b), cond) -> prediction, shape of z.
        decode: (params, z (b h w c)) -> frames (b H W 3), about [-1, 1].
        drop: (cond, keys) -> the same with these conditions dropped.
        tell: (low (b t h w 3) in [-1, 1] with noise, its time (b), size of z) -> what the network
            is told of them.
        schedule: noise schedule that the network was trained with, of both noises.
        target: "epsilon", "v" or "x0": what it predicts.
        solver: the stepping rule.
        grid: (s + 1) decreasing sigmas.
        guidance: what is guided, each with a scale of its own.
        pixels: of the result that an entry of z is high and wide.
        channels: of z.
        low_noise: time of the noise on the low-resolution frames; 0 for none.
        chunk: frames that are made at once.
        overlap: of them, how many the chunk before has made.
        tile: height and width, in z, of what the network sees at once; None for all.
        tile_overlap: rows and columns, in z, that neighbouring tiles have in common.
        name: of the noise streams.
    """

    network: Callable[[PyTree, Array, Array, Conditioning], Array]
    decode: Callable[[PyTree, Array], Array]
    drop: Callable[[Conditioning, tuple[str, ...]], Conditioning]
    tell: Callable[[Array, Array, tuple[int, int]], Conditioning]
    schedule: Schedule
    target: str
    solver: Solver
    grid: Float[np.ndarray, " stops"]
    guidance: tuple[Guidance, ...]
    pixels: int
    channels: int
    low_noise: int
    chunk: int
    overlap: int
    tile: tuple[int, int] | None
    tile_overlap: int
    name: str

    def frames(
        self, params: PyTree, key: Key, index: Int[Array, " b"], cond: Conditioning
    ) -> tuple[UInt8[Array, "b t H W 3"], Bool[Array, " b"]]:
        """Return frames, and which videos are finite; as `FrameMaker.frames`.

        Raises:
            InputError: if `cond` has no low-resolution frames, or of a size that cannot be.
        """
        low, cond = _split(cond)
        begin, chosen = self._plan(low.shape[1])

        def body(state: tuple, start: Array) -> tuple:
            part = jax.lax.dynamic_slice_in_dim(low, start, self._length(low.shape[1]), axis=1)
            state, made, finite = self.part(params, key, index, part, cond, state, start)
            return state, (made, finite)

        first = self.first(low[:, : self._length(low.shape[1])])
        _, (made, finite) = jax.lax.scan(body, first, jnp.asarray(begin))
        made = rearrange(made, "k b t h w c -> b (k t) h w c")
        return made[:, chosen], jnp.all(finite, axis=0)

    def stream(
        self, params: PyTree, key: Key, index: Int[Array, " b"], cond: Conditioning
    ) -> Iterator[UInt8[np.ndarray, "b t H W 3"]]:
        """Yield the same frames on the host, those of a chunk at a time, in order.

        Nothing is as long as the video here; its low-resolution frames may be a file in memory.

        Raises:
            InputError: as `frames`, and if a frame is not finite: the weights are broken.
        """
        low, cond = _split(cond)
        length = self._length(low.shape[1])
        begin, chosen = self._plan(low.shape[1])
        state = self.first(jnp.asarray(low[:, :length]))
        for number, start in enumerate(begin):
            part = jnp.asarray(low[:, start : start + length])
            state, made, finite = self._part(params, key, index, part, cond, state, start)
            if not np.all(finite):
                raise InputError(
                    f"frames {start} to {start + length - 1} are not finite numbers: the weights "
                    "are damaged, or were trained for another diffusion or precision"
                )
            own = chosen[(chosen >= number * length) & (chosen < (number + 1) * length)]
            yield np.asarray(made)[:, own - number * length]

    def first(self, low: UInt8[Array, "b t h w 3"]) -> tuple[Array, Array]:
        """Return what stands before the first chunk: frames that nobody has made."""
        b, t, h, w, _ = low.shape
        z = jnp.zeros((b, t, *self._size(h, w), self.channels), jnp.float32)
        return z, jnp.asarray(-t, jnp.int32)

    def part(
        self,
        params: PyTree,
        key: Key,
        index: Int[Array, " b"],
        low: UInt8[Array, "b t h w 3"],
        cond: Conditioning,
        before: tuple[Array, Array],
        start: Int[Array, ""] | int,
    ) -> tuple[tuple[Array, Array], UInt8[Array, "b t H W 3"], Bool[Array, " b"]]:
        """Return a chunk: (its z, its first frame), its frames and which videos are finite.

        Args:
            params: what `network` and `decode` are called with.
            key: of the run.
            index: numbers of the videos; all noise belongs to them.
            low: the chunk's low-resolution frames.
            cond: what else the videos are to be, every array leading with b.
            before: (z, first frame) of the chunk before, or `first`.
            start: number of the chunk's first frame in its video.
        """
        t, shift = low.shape[1], start - before[1]
        known, given = jnp.roll(before[0], -shift, axis=1), jnp.arange(t) < t - shift
        keys = {what: sample_keys(stream(key, f"{self.name} {what}"), index) for what in STREAMS}
        shape, numbers = before[0].shape[2:], start + jnp.arange(t)
        time = jnp.full(index.shape, self.low_noise)
        x = low.astype(jnp.float32) / 127.5 - 1.0
        seen = noised(x, frame_noise(keys["low"], numbers, x.shape[2:]), time, self.schedule)
        told = {**cond, **self.tell(seen, time, shape[:2])}
        denoise = make_denoiser(self._guided(params, told), self.schedule, self.target)
        z = sample(
            continued(denoise, known, given),
            self.solver,
            self.grid,
            frame_noise(keys["noise"], numbers, shape),
            jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys["solver"], start),
        )
        z = jnp.where(given[None, :, None, None, None], known, z)
        images = rearrange(z, "b t h w c -> (b t) h w c")
        made, finite = to_frames(functools.partial(self.decode, params), images)
        made = rearrange(made, "(b t) 1 h w c -> b t h w c", t=t)
        return (z, jnp.asarray(start, jnp.int32)), made, jnp.all(finite.reshape(-1, t), axis=1)

    def _guided(self, params: PyTree, told: Conditioning) -> Callable[[Array, Array], Array]:
        network = self.network
        if self.tile is not None:
            network = in_tiles(network, self.tile, self.tile_overlap)
        away = [
            Away(self.drop(told, one.keys), one.scale)
            for one in self.guidance
            if one.scale != 1 and not told.keys().isdisjoint(one.keys)
        ]
        return guided(functools.partial(network, params), told, *away)

    def _size(self, height: int, width: int) -> tuple[int, int]:
        """Return the size of z for low-resolution frames of a size.

        Raises:
            InputError: if z has no such size.
        """
        high, wide = FACTOR * height, FACTOR * width
        if high % self.pixels or wide % self.pixels:
            raise InputError(
                f"low-resolution frames of {height}x{width} become {high}x{wide}, which must be "
                f"multiples of {self.pixels}: crop them"
            )
        return high // self.pixels, wide // self.pixels

    def _length(self, frames: int) -> int:
        return min(self.chunk, frames)

    def _plan(self, frames: int) -> tuple[tuple[int, ...], Int[np.ndarray, " t"]]:
        """Return where chunks begin, and of all their frames in a row those that are the video."""
        length = self._length(frames)
        begin = starts(frames, length, min(self.overlap, length - 1))
        number = np.concatenate([start + np.arange(length) for start in begin])
        return begin, np.unique(number, return_index=True)[1]

    @functools.cached_property
    def _part(self) -> Callable:
        return jax.jit(self.part)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Bicubic(FrameMaker):
    """The baseline: frames resized, no network."""

    def frames(
        self, params: PyTree, key: Key, index: Int[Array, " b"], cond: Conditioning
    ) -> tuple[UInt8[Array, "b t H W 3"], Bool[Array, " b"]]:
        """Return the low-resolution frames of `cond` at four times their size."""
        del params, key
        low, _ = _split(cond)
        x = low.astype(jnp.float32) / 127.5 - 1.0
        size = (FACTOR * low.shape[-3], FACTOR * low.shape[-2])
        return to_uint8(enlarge(x, *size, "cubic")), jnp.ones(index.shape, bool)


def _split(cond: Conditioning) -> tuple[Any, dict[str, Any]]:
    """Return the low-resolution frames of a conditioning, and the rest.

    Raises:
        InputError: if there are none.
    """
    rest = dict(cond)
    if LOW not in rest:
        raise InputError(f"there is nothing to upsample: give frames (b t h w 3) as {LOW!r}")
    return rest.pop(LOW), rest
