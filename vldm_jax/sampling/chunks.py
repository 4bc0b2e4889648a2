"""Denoising of a video in chunks that overlap, averaged in every step, in constant memory.

Chunk k has T frames from k (T - o) on; o frames are also those of chunk k + 1. Averaging couples
all chunks, so step after step needs the whole video at once. But a step of a chunk needs no more
than the step before of itself and its neighbours, so the steps can be taken along a slope,

    sweep r:   chunk r at step 0,  chunk r - 1 at step 1,  ...  chunk r - s at step s          (1)

each in this order: what chunk r - s needs of its neighbours was made in this sweep by step s - 1,
and in the sweep before by step s. The result is that of all chunks in lockstep; what is kept is as
many chunks as there are steps; a sweep ends one more block of T - o frames, for good. A block knows
of no chunk that is further away than there are steps, so a run that was stopped begins so many
sweeps earlier and goes on with the same video.

A chunk that is the whole video is sampled as without chunks.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.sampling.loop import make_table, start
from vldm_jax.sampling.solvers.base import Denoise, Memory, Row, Solver
from vldm_jax.typing import Array, Float, Int, Key


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chunks:
    """How a video is divided.

    Attributes:
        frames: of the video.
        size: T, frames of a chunk.
        overlap: o, of them, frames that are also the next chunk's.

    Raises:
        InputError: if a frame would be of three chunks.
    """

    frames: int
    size: int
    overlap: int

    def __post_init__(self) -> None:
        if not 0 <= self.overlap <= self.size // 2:
            raise InputError(
                f"an overlap of {self.overlap} must be at most half of a chunk's {self.size} frames"
            )

    @property
    def block(self) -> int:
        """Frames from one chunk to the next."""
        return self.size - self.overlap

    @property
    def count(self) -> int:
        """Number of chunks; the last may reach beyond the end."""
        return max(1, -(-(self.frames - self.overlap) // self.block))

    def numbers(self, chunk: int) -> Int[np.ndarray, " t"]:
        """Return the frames that a chunk has; beyond the end the video goes back again."""
        number = chunk * self.block + np.arange(self.size)
        return np.where(number < self.frames, number, 2 * (self.frames - 1) - number)

    def of_block(self, block: int) -> Int[np.ndarray, " t"]:
        """Return the frames of a block, the nearest that there is for those that are none."""
        number = block * self.block + np.arange(self.block)
        return np.clip(number, 0, self.frames - 1)

    def sweeps(self, steps: int) -> int:
        """Return how many sweeps make the whole video."""
        return self.count + steps - (self.overlap == 0)


def chunks_of(frames: int, size: int, overlap: int) -> Chunks:
    """Return the chunks of a video; one, if it is not longer."""
    size = min(size, frames)
    return Chunks(frames=frames, size=size, overlap=min(overlap, size // 2))


class State(NamedTuple):
    """What a sweep leaves for the next: of each step, the chunk that it comes to.

    Attributes:
        x: (s b block ...) its first frames, before the step.
        memory: of the solver, for these.
        tail: (s b overlap ...) x0 of its first frames as the chunk before it saw them.
    """

    x: Float[Array, "s b t ..."]
    memory: Memory
    tail: Float[Array, "s b o ..."]


def first_state(
    solver: Solver,
    sigmas: Float[np.ndarray, " stops"],
    noise: Float[Array, "b t ..."],
    overlap: int,
) -> State:
    """Return the state before sweep 0.

    Args:
        solver: the stepping rule.
        sigmas: (s + 1) the grid.
        noise: of the video's first block.
        overlap: o.
    """
    steps, x = len(sigmas) - 1, start(noise, sigmas)
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf] * steps), (x, solver.start(x)))
    return State(*stacked, jnp.zeros((steps, x.shape[0], overlap, *x.shape[2:]), jnp.float32))


def sweep(
    denoiser: Callable[[Array], Denoise],
    solver: Solver,
    sigmas: Float[np.ndarray, " stops"],
    noise: Float[Array, "b t ..."],
    keys: Key,
    state: State,
    number: Int[Array, ""] | int,
    chunks: Chunks,
    count: Int[Array, ""] | int,
) -> tuple[State, Float[Array, "b t ..."]]:
    """Take sweep (1); return the state, and block `number - s + 1`, which is done.

    Args:
        denoiser: number s of a step -> what denoises the chunk that it has come to.
        solver: the stepping rule, which asks the network once a step.
        sigmas: (s + 1) decreasing, concrete.
        noise: of block `number + 1`.
        keys: (b) of solvers that add noise.
        state: of the sweep before.
        number: of the sweep, from 0.
        chunks: their size and overlap.
        count: how many there are.

    Raises:
        InputError: if the solver asks the network more than once a step.
    """
    block, overlap = chunks.block, chunks.overlap
    table = make_table(solver, sigmas, keys)
    rising = jnp.arange(1, overlap + 1) / (overlap + 1)

    def step(after: tuple, level: tuple) -> tuple:
        (next_x, next_memory), (own, row, index) = after, level
        chunk = number - index
        seen, before = (chunk >= 0) & (chunk < count), (chunk > 0) & (chunk <= count)
        z = jnp.concatenate([own.x, next_x[:, :overlap]], axis=1)
        denoise = denoiser(index)
        x0 = jax.lax.cond(
            seen, lambda z: denoise(z, row.sigma).astype(jnp.float32), jnp.zeros_like, z
        )
        up = jnp.where(before, rising, 1.0) * seen
        down = jnp.where(seen, 1.0 - rising, 1.0) * before
        up, down = (_along_frames(weight, x0) for weight in (up, down))
        shared = up * x0[:, :overlap] + down * own.tail
        mean = jnp.concatenate([shared, x0[:, overlap:block]], axis=1)
        row = row._replace(key=jax.vmap(jax.random.fold_in, in_axes=(0, None))(row.key, chunk))
        x, _, memory = solver.step(_once(mean, solver), own.x, row, own.memory)
        return (x, memory), State(next_x, next_memory, x0[:, block:])

    following = start(noise, sigmas)
    levels = (state, table, jnp.arange(len(sigmas) - 1))
    (made, _), state = jax.lax.scan(step, (following, solver.start(following)), levels)
    return state, made


def _along_frames(weight: Float[Array, " t"], x: Array) -> Array:
    return weight.reshape(1, -1, *(1,) * (x.ndim - 2))


def _once(x0: Array, solver: Solver) -> Denoise:
    """Return a denoiser that knows its only answer.

    Raises:
        InputError: when it is asked again.
    """
    asked: list[Row] = []

    def denoise(x: Array, sigma: Array) -> Array:
        if asked:
            raise InputError(
                f"{type(solver).__name__} asks the network more than once a step, which a video in "
                "chunks cannot: take another solver, as dpmpp_2m"
            )
        asked.append(sigma)
        return x0

    return denoise
