"""Videos longer than a window: windows that go on from each other, and frames between frames.

    roll_out       given k last frames, t - k new ones, and again, as one `lax.scan`
    interpolate    n frames -> 4 (n - 1) + 1: three new ones in each gap, all gaps as one batch

Pure functions over latents. What makes a window is a function of them: it is handed latents of
given frames, which frames these are, and the window's number, from which its noise is to come (no
two windows have the same), and returns the window with the given frames as they came:

    def window(z, given, number):
        cond = {**labels, "context_frames": context_of(z, given)}
        return sampler.latents(params, jax.random.fold_in(key, number), index, cond)

    tail = first[:, None]                                          # (b 1 h w c)
    z, tail = roll_out(window, tail, jnp.arange(1), frames=8)      # S = 1
    more, tail = roll_out(window, z[:, -2:], jnp.arange(1, 9), frames=8)

Numbers are absolute, so that a video made in parts, or gone on with, is the same video.

Source: Align your Latents, arXiv:2304.08818, Sec. 3.2 and 3.3.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from einops import rearrange

from vldm_jax.typing import Array, Float, Int

BETWEEN = 3  # new frames in a gap
Window: TypeAlias = Callable[[Array, Array, int | Array], Array]


def roll_out(
    window: Window,
    tail: Float[Array, "b k h w c"],
    numbers: Int[Array, " n"],
    *,
    frames: int,
) -> tuple[Float[Array, "b m h w c"], Float[Array, "b k h w c"]]:
    """Return the frames of n windows after given ones, and the last k of them.

    Args:
        window: (z (b t h w c), given (b t), number ()) -> (b t h w c); z is 0 where not given.
        tail: the k last frames so far.
        numbers: of the windows.
        frames: t, of a window, more than k.

    Returns:
        m = n (t - k) new frames, without those that were given; and the next tail.

    Raises:
        ValueError: if a window has no room for a new frame.
    """
    known = tail.shape[1]
    if known >= frames:
        raise ValueError(f"{known} given frames leave no room in a window of {frames}")
    given = jnp.broadcast_to(jnp.arange(frames) < known, (len(tail), frames))

    def step(last: Array, number: Array) -> tuple[Array, Array]:
        room = jnp.zeros((len(last), frames - known, *last.shape[2:]), last.dtype)
        z = window(jnp.concatenate([last, room], axis=1), given, number)
        return z[:, -known:], z[:, known:]

    tail, new = jax.lax.scan(step, tail, numbers)
    return rearrange(new, "n b t h w c -> b (n t) h w c"), tail


def interpolate(
    window: Window,
    start: Float[Array, "g h w c"],
    end: Float[Array, "g h w c"],
    number: int | Array,
) -> Float[Array, "m h w c"]:
    """Return the frames from the start of the first gap on, up to the end of the last, without it.

    Args:
        window: (z (g 5 h w c), given (g 5), number) -> (g 5 h w c); z is 0 where not given.
        start: of each gap, the end of the gap before it.
        end: of each gap.
        number: what the window is handed, one for all gaps or (g) one for each.

    Returns:
        m = 4 g frames, every fourth the start of a gap, exactly as it came.
    """
    room = jnp.zeros((len(start), BETWEEN, *start.shape[1:]), start.dtype)
    z = jnp.concatenate([start[:, None], room, end[:, None]], axis=1)
    inside = jnp.array([True, *[False] * BETWEEN, True])
    made = window(z, jnp.broadcast_to(inside, z.shape[:2]), number)[:, 1:-1]
    whole = jnp.concatenate([start[:, None], made], axis=1)
    return rearrange(whole, "g t h w c -> (g t) h w c")


def interpolated_length(frames: int, rounds: int = 1) -> int:
    """Return how many frames so many rounds of interpolation make: 8 -> 29 -> 113."""
    return (BETWEEN + 1) ** rounds * (frames - 1) + 1
