"""Key frames: a first one, or given ones, then windows that go on from the last two.

Source: Align your Latents, arXiv:2304.08818, Sec. 3.2 and 4.1.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vldm_jax.core.rng import stream
from vldm_jax.sampling.windows import roll_out
from vldm_jax.stack.plan import CONTEXT, Part, StackPlan, read
from vldm_jax.stack.reel import Reel
from vldm_jax.stack.request import Request
from vldm_jax.stages.told_frames import window_of
from vldm_jax.typing import Array, Conditioning, Float, Int, Key, PyTree

WINDOWS = 4  # in one call: one program, however long the video gets
NOT_WANTED = -1  # number of a window after the last, which is not made


def key_of(seed: int) -> Key:
    """Return the key of the key frames of a seed."""
    return stream(jax.random.key(seed), "key frames")


def make_key_frames(
    plan: StackPlan, request: Request, reel: Reel, said: Callable[[int], Any]
) -> None:
    """Append to a reel the key frames (videos n h w c) that it lacks.

    Args:
        plan: of the stack.
        request: what is asked for.
        reel: of key frames.
        said: is told how many there are.
    """
    key = jax.random.key(request.seed)
    if not len(reel) and plan.first is not None and request.context is None:
        z = _first_frames(plan.first, request, key)
        reel.append(jnp.repeat(z[:, None], request.futures, axis=0))
        said(len(reel))
    if len(reel) < plan.key_frames:
        _predict(plan, request, reel, said)


def _first_frames(part: Part, request: Request, key: Key) -> Float[Array, "n h w c"]:
    """Return the first frame of each beginning."""
    params, _ = read(part)
    return jax.jit(part.stage.sampler().latents)(params, key, *_of_beginnings(part, request))


def _of_beginnings(part: Part, request: Request) -> tuple[Int[Array, " n"], Conditioning]:
    """Return the numbers of the beginnings, and what a part is told of them."""
    each = range(0, request.count, request.futures)
    told = {name: jnp.asarray(a) for name, a in request.of(part, each).items()}
    return request.first + jnp.arange(len(each)), told


def _told(part: Part, request: Request) -> Conditioning:
    every = request.of(part, range(request.count))
    return {name: jnp.asarray(a) for name, a in every.items()}


def _predict(plan: StackPlan, request: Request, reel: Reel, said: Callable[[int], Any]) -> None:
    part = plan.prediction
    params, _ = read(part)
    sampler, frames = part.stage.sampler(), part.config.data.num_frames
    cond, beginnings = _told(part, request), _of_beginnings(part, request)
    index = jnp.asarray(request.numbers)
    key = key_of(request.seed)
    if not len(reel) and request.context is not None:
        given = jnp.asarray(request.context)
        batch = {"video": given[None]}
        z = part.stage.space.encode(params, batch, "video", stream(key, "context"))
        reel.append(jnp.broadcast_to(z, (request.count, *z.shape[1:])))
        said(len(reel))
    if not len(reel):
        z = jax.jit(sampler.latents)(params, jax.random.fold_in(key, 0), *beginnings)
        # Several futures have the first frame in common, and go on from it as from any other.
        known = plan.key_frames if request.futures == 1 else 1
        reel.append(jnp.repeat(z[:, :known], request.futures, axis=0))
        said(len(reel))

    # Key and numbers are arguments: as constants, each seed would be a program of its own.
    @jax.jit
    def rolled(
        params: PyTree, key: Key, index: Array, cond: Conditioning, tail: Array, numbers: Array
    ) -> Array:
        made = window_of(sampler, params, key, index, cond)

        def window(z: Array, given: Array, number: Array) -> Array:
            return jax.lax.cond(number == NOT_WANTED, lambda: z, lambda: made(z, given, number))

        return roll_out(window, tail, numbers, frames=frames)[0]

    while len(reel) < plan.key_frames:
        known = min(CONTEXT, len(reel))
        # A window's number is that of the frame that it begins with: the same in every run.
        start, step = len(reel) - known, frames - known
        count = 1 if known < CONTEXT else WINDOWS
        numbers = start + 1 + step * np.arange(count)
        wanted = len(reel) + step * np.arange(count) < plan.key_frames
        numbers = jnp.asarray(np.where(wanted, numbers, NOT_WANTED))
        z = rolled(params, key, index, cond, reel.between(start, len(reel)), numbers)
        reel.append(z[:, : plan.key_frames - len(reel)])
        said(len(reel))
