"""From low-resolution frames to frames of four times their height and width.

    noise of frames -> solver, told the noised low frames, in chunks and tiles -> decoder -> uint8

An upsampler has the parts of a `Sampler`, and chunks (`chunks.py`) and tiles (`upsampling.py`)
beside. The video may be of any length: `stream` makes it block by block with one compiled program
and hands each on as soon as it is there; `frames` is the same as one program. The network may be
one of images, which sees each frame by itself.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator

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
from vldm_jax.sampling.chunks import Chunks, State, chunks_of, first_state, sweep
from vldm_jax.sampling.maker import FrameMaker, to_frames, to_pixels
from vldm_jax.sampling.noise import sample_keys
from vldm_jax.sampling.sampler import Guidance
from vldm_jax.sampling.solvers.base import Denoise, Solver
from vldm_jax.sampling.upsampling import FACTOR, frame_noise, split_low, tiled
from vldm_jax.typing import Array, Bool, Conditioning, Float, Int, Key, PyTree, UInt8


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Upsampler(FrameMaker):
    """The parts that upsample.

    Attributes:
        network: (params, z (b t h w c), time (b), cond) -> prediction, shape of z.
        decode: (params, z (b h w c), low (b h2 w2 3) in [-1, 1]) -> frames (b H W 3), about
            [-1, 1]; low has no noise.
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
        overlap: of them, how many are also the next chunk's; at most half.
        tile: height and width, in z, of what the network sees at once; None for all.
        tile_overlap: rows and columns, in z, that neighbouring tiles have in common.
        name: of the noise streams.
    """

    network: Callable[[PyTree, Array, Array, Conditioning], Array]
    decode: Callable[[PyTree, Array, Array], Array]
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
        low, cond = split_low(cond)
        chunks = self.chunks(low.shape[1])
        sweeps = range(chunks.sweeps(self.steps))
        which = np.stack([chunks.numbers(min(i, chunks.count - 1)) for i in sweeps])
        ends = np.stack([chunks.of_block(i - self.steps + 1) for i in sweeps])

        def body(state: tuple, row: tuple) -> tuple:
            number, *frames = row
            part, last = (jnp.take(low, which, axis=1) for which in frames)
            state, made, finite = self.sweep(
                params, key, index, part, last, cond, state, number, chunks, chunks.count
            )
            return state, (made, finite)

        state = self.first(key, index, low[:, : chunks.size], chunks)
        rows = (jnp.arange(len(sweeps)), jnp.asarray(which), jnp.asarray(ends))
        _, (made, finite) = jax.lax.scan(body, state, rows)
        made = rearrange(made[self.steps - 1 :], "k b t h w c -> b (k t) h w c")
        return made[:, : low.shape[1]], jnp.all(finite, axis=0)

    def stream(
        self,
        params: PyTree,
        key: Key,
        index: Int[Array, " b"],
        cond: Conditioning,
        *,
        start: int = 0,
    ) -> Iterator[UInt8[np.ndarray, "b t H W 3"]]:
        """Yield the same frames on the host, a block at a time, in order.

        Nothing here is as long as the video, whose low-resolution frames may lie in a file.

        Args:
            params: what `network` and `decode` are called with.
            key: of the run.
            index: numbers of the videos; all noise belongs to them.
            cond: as in `frames`.
            start: number of the first frame, of a run that was stopped; the rest is what it would
                have been.

        Raises:
            InputError: as `frames`, and if a frame is not finite: the weights are broken.
        """
        low, cond = split_low(cond)
        frames = low.shape[1]
        chunks = self.chunks(frames)
        # The program knows a chunk's frames, and not how many the video has.
        any_length = dataclasses.replace(chunks, frames=chunks.size)
        done, ahead = divmod(start, chunks.block)
        begin = max(0, done - self.steps)
        state = self.first(key, index, jnp.asarray(low[:, : chunks.size]), chunks, begin)
        for number in range(begin, chunks.sweeps(self.steps)):
            block = number - self.steps + 1
            part = jnp.asarray(low[:, chunks.numbers(min(number, chunks.count - 1))])
            last = jnp.asarray(low[:, chunks.of_block(block)])
            state, made, finite = self._sweep(any_length)(
                params, key, index, part, last, cond, state, number, chunks.count
            )
            if block < done or block * chunks.block >= frames:
                continue
            if not np.all(finite):
                raise InputError(
                    f"frames from {block * chunks.block} on are not finite numbers: the weights "
                    "are damaged, or were trained for another diffusion or precision"
                )
            yield np.asarray(made)[:, ahead : frames - block * chunks.block]
            ahead = 0

    @property
    def steps(self) -> int:
        """Of the solver."""
        return len(self.grid) - 1

    def chunks(self, frames: int) -> Chunks:
        """Return how a video of so many frames is divided."""
        return chunks_of(frames, self.chunk, self.overlap)

    def first(
        self,
        key: Key,
        index: Int[Array, " b"],
        low: UInt8[Array, "b t h w 3"],
        chunks: Chunks,
        begin: int = 0,
    ) -> tuple[State, UInt8[Array, "s b t h w 3"]]:
        """Return what is there before the first sweep.

        Args:
            key: of the run.
            index: numbers of the videos.
            low: of a chunk; only its shape is used.
            chunks: their size and overlap.
            begin: number of the first sweep. What it ends is the video's only after as many sweeps
                as there are steps, and one, or if it is sweep 0.

        Raises:
            InputError: if frames of that size cannot be upsampled.
        """
        numbers = begin * chunks.block + jnp.arange(chunks.block)
        noise = self._noise(key, index, numbers, low)
        state = first_state(self.solver, self.grid, noise, chunks.overlap)
        return state, jnp.zeros((self.steps, *low.shape), jnp.uint8)

    def sweep(
        self,
        params: PyTree,
        key: Key,
        index: Int[Array, " b"],
        low: UInt8[Array, "b t h w 3"],
        last: UInt8[Array, "b t2 h w 3"],
        cond: Conditioning,
        before: tuple[State, UInt8[Array, "s b t h w 3"]],
        number: Int[Array, ""] | int,
        chunks: Chunks,
        count: Int[Array, ""] | int,
    ) -> tuple[tuple[State, Array], UInt8[Array, "b t2 H W 3"], Bool[Array, " b"]]:
        """Return what the next sweep needs, the frames that this one ends, and which are finite.

        Args:
            params: what `network` and `decode` are called with.
            key: of the run.
            index: numbers of the videos; all noise belongs to them.
            low: low-resolution frames of chunk `number`, or anything if there is none.
            last: those of the block that this sweep ends, or anything if there is none.
            cond: what else the videos are to be, every array leading with b.
            before: what the sweep before left, or `first`.
            number: of the sweep.
            chunks: their size and overlap.
            count: how many there are.
        """
        state, lows = before
        lows = jnp.concatenate([low[None], lows[:-1]])

        def denoiser(step: Array) -> Denoise:
            own, numbers = lows[step], (number - step) * chunks.block + jnp.arange(chunks.size)
            x = to_pixels(own)
            time = jnp.full(index.shape, self.low_noise)
            eps = frame_noise(self._keys("low", key, index), numbers, x.shape[2:])
            seen = noised(x, eps, time, self.schedule)
            told = {**cond, **self.tell(seen, time, self.size_of(*x.shape[2:4]))}
            return make_denoiser(self._guided(params, told), self.schedule, self.target)

        numbers = (number + 1) * chunks.block + jnp.arange(chunks.block)
        state, z = sweep(
            denoiser, self.solver, self.grid, self._noise(key, index, numbers, low),
            self._keys("solver", key, index), state, number, chunks, count,
        )  # fmt: skip
        made, finite = self._decoded(params, z, last, number >= self.steps - 1)
        return (state, lows), made, finite

    def _decoded(
        self, params: PyTree, z: Array, low: Array, done: Array | bool
    ) -> tuple[UInt8[Array, "b t H W 3"], Bool[Array, " b"]]:
        """Return the frames of z; zeros as long as there is nothing done."""
        b, t, h, w, _ = z.shape

        def decode(z: Array, low: Array) -> tuple[Array, Array]:
            images = (rearrange(one, "b t h w c -> (b t) h w c") for one in (z, to_pixels(low)))
            made, finite = to_frames(functools.partial(self.decode, params), *images)
            made = rearrange(made, "(b t) 1 h w c -> b t h w c", t=t)
            return made, jnp.all(finite.reshape(b, t), axis=1)

        def nothing(z: Array, low: Array) -> tuple[Array, Array]:
            del low
            size = (b, t, h * self.pixels, w * self.pixels, 3)
            return jnp.zeros(size, jnp.uint8), jnp.ones((b,), bool)

        return jax.lax.cond(done, decode, nothing, z, low)

    def _keys(self, what: str, key: Key, index: Int[Array, " b"]) -> Key:
        return sample_keys(stream(key, f"{self.name} {what}"), index)

    def _noise(
        self, key: Key, index: Int[Array, " b"], numbers: Int[Array, " t"], low: Array
    ) -> Float[Array, "b t h w c"]:
        shape = (*self.size_of(*low.shape[2:4]), self.channels)
        return frame_noise(self._keys("noise", key, index), numbers, shape)

    def _guided(self, params: PyTree, told: Conditioning) -> Callable[[Array, Array], Array]:
        network = self.network
        if self.tile is not None:
            network = tiled(network, self.tile, self.tile_overlap)
        away = [
            Away(self.drop(told, one.keys), one.scale)
            for one in self.guidance
            if one.scale != 1 and not told.keys().isdisjoint(one.keys)
        ]
        return guided(functools.partial(network, params), told, *away)

    def size_of(self, height: int, width: int) -> tuple[int, int]:
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

    def _sweep(self, chunks: Chunks) -> Callable:
        if chunks not in self._programs:

            def program(params, key, index, low, last, cond, state, number, count):
                return self.sweep(params, key, index, low, last, cond, state, number, chunks, count)

            self._programs[chunks] = jax.jit(program)
        return self._programs[chunks]

    @functools.cached_property
    def _programs(self) -> dict[Chunks, Callable]:
        return {}
