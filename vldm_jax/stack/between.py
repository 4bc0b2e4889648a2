"""Frames between frames, gap by gap; the frames that come in are among those that go out.

Source: Align your Latents, arXiv:2304.08818, Sec. 3.3.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from vldm_jax.core.rng import stream
from vldm_jax.sampling.noise import sample_keys
from vldm_jax.sampling.windows import BETWEEN, interpolate
from vldm_jax.stack.plan import Part
from vldm_jax.stack.reel import Reel
from vldm_jax.stack.request import Request
from vldm_jax.stages.told_frames import window_of
from vldm_jax.typing import Array, Conditioning, Int, Key, PyTree

GAPS = 8  # of one video in one call


def keys_of(part: Part, seed: int, number: Any, videos: Int[Array, " n"]) -> Key:
    """Return the keys (n) of videos in a round: a video's, however many there are.

    Args:
        part: of interpolation.
        seed: of the run.
        number: of the round.
        videos: their numbers.
    """
    return sample_keys(jax.random.fold_in(stream(jax.random.key(seed), part.model), number), videos)


def put_between(
    part: Part,
    params: PyTree,
    request: Request,
    coarse: Reel,
    fine: Reel,
    said: Callable[[int], Any],
) -> None:
    """Append to a reel the frames of a round of interpolation that it lacks.

    Args:
        part: as it runs in this round.
        params: its parameters.
        request: what is asked for.
        coarse: all frames of the round before.
        fine: gets 4 (n - 1) + 1 of them.
        said: is told how many there are.
    """
    sampler = part.stage.sampler()
    told = [request.of(part, [video] * GAPS) for video in range(request.count)]
    cond = jax.tree.map(lambda *rows: jnp.stack(rows), *told)
    keys = keys_of(part, request.seed, part.number, jnp.asarray(request.numbers))
    gaps = len(coarse) - 1

    @jax.jit
    def filled(params: PyTree, cond: Conditioning, keys: Key, z: Array, number: Array) -> Array:
        def one(args: tuple[Key, Conditioning, Array]) -> Array:
            key, cond, frames = args
            window = window_of(sampler, params, key, number, cond)
            return interpolate(window, frames[:-1], frames[1:], 0)

        return jax.lax.map(one, (keys, cond, z))

    while len(fine) < (BETWEEN + 1) * gaps:
        first = len(fine) // (BETWEEN + 1)
        count = min(GAPS, gaps - first)
        z = coarse.between(first, first + count + 1)
        # Filled up with its last frame, so that one program serves all.
        z = jnp.concatenate([z, jnp.repeat(z[:, -1:], GAPS - count, axis=1)], axis=1)
        made = filled(params, cond, keys, z, first + jnp.arange(GAPS))
        fine.append(made[:, : (BETWEEN + 1) * count])
        said(len(fine))
    if len(fine) == (BETWEEN + 1) * gaps:
        fine.append(coarse.between(gaps, gaps + 1))
        said(len(fine))
