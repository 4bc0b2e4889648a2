"""Motion and frames between frames: what figures ask of RIFE's flow network.

The network predicts, at the middle of two frames, the flows F_0 and F_1 to both. The flow of the
first frame towards the last is derived from those. A point of the first frame at p lies in the
middle at p + s(p), where s = -F_0(p + s), found by iterating from s = -F_0; all it moves is

    F(p) = (F_1 - F_0)(p + s(p)).

At the edges of what moves, half its way wide, two such s hold and either may be found; taking the
one that explains the picture better changed the warp error of real clips by less than 2 %.

Asking for the flows at the first frame's own time would be shorter, but the network, trained to
place frames inside the interval, is off by pixels there (1 to 4 for shifts of up to 6).
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from einops import rearrange

from vldm_jax.core.errors import InputError
from vldm_jax.evals.networks.flow import MULTIPLE, Between, FlowNet
from vldm_jax.evals.networks.resample import inside, warp
from vldm_jax.typing import Array, Float, PyTree

PAIRS = 8  # that are in memory at once
ITERATIONS = 5
RELATIVE, ABSOLUTE = 0.01, 0.5  # of the test for what is visible; the latter in squared pixels


@jax.jit
def interpolate(
    params: PyTree,
    first: Float[Array, "b h w 3"],
    last: Float[Array, "b h w 3"],
    time: float | Float[Array, ""] = 0.5,
) -> Float[Array, "b h w 3"]:
    """Return the frames at a time between two: what a network that interpolates has to beat.

    The network looks at frames twice as large: on the driving clips that is 0.8 to 2.2 dB better
    than at their own size; four times adds 0.1 dB.

    Args:
        params: of `load_flow_weights`.
        first: (b h w 3) in [-1, 1], of any size.
        last: the same.
        time: in [0, 1], 0 at the first frame.

    Raises:
        InputError: if there are none.

    Source: arXiv:2011.06294.
    """

    def middle(first, last):
        return _between(params, first, last, 2, time).frame

    return _in_chunks(middle, first, last)


@jax.jit
def optical_flow(
    params: PyTree, x: Float[Array, "b h w 3"], y: Float[Array, "b h w 3"]
) -> Float[Array, "b h w 2"]:
    """Return the displacements of the pixels of x towards y, so that warp(y, flow) resembles x.

    The network looks at frames two or four times as large: at their own size it doesn't tell a
    shift of one pixel from none, as both give a middle frame that is only a little blurred.

    Args:
        params: of `load_flow_weights`.
        x: (b h w 3) in [-1, 1], of any size.
        y: the same.

    Returns:
        (b h w 2) pixels to the right and down.

    Raises:
        InputError: if there are no frames.

    Source: arXiv:2011.06294; the module's docstring.
    """
    return _in_chunks(partial(_flow, params), x, y)


@jax.jit
def flow_and_visible(
    params: PyTree, x: Float[Array, "b h w 3"], y: Float[Array, "b h w 3"]
) -> tuple[Float[Array, "b h w 2"], Float[Array, "b h w"]]:
    """Return `optical_flow`, and `visible` with the flow back; arguments as there."""
    forward, _, seen = flows_and_visible(params, x, y)
    return forward, seen


@jax.jit
def flows_and_visible(
    params: PyTree, x: Float[Array, "b h w 3"], y: Float[Array, "b h w 3"]
) -> tuple[Float[Array, "b h w 2"], Float[Array, "b h w 2"], Float[Array, "b h w"]]:
    """Return `optical_flow` of x towards y and of y towards x, and `visible` in x."""

    def both(x, y):
        forward, back = _flow(params, x, y), _flow(params, y, x)
        return forward, back, visible(forward, back)

    return _in_chunks(both, x, y)


def visible(
    forward: Float[Array, "b h w 2"], back: Float[Array, "b h w 2"]
) -> Float[Array, "b h w"]:
    """Return 1.0 at the pixels of a frame that the other shows, too, 0.0 at the others.

    Those stay in the picture, and with F the flow forward and B the one back at p + F(p)

        |F + B|^2 < 0.01 (|F|^2 + |B|^2) + 0.5.

    Args:
        forward: (b h w 2) pixels, from the frame to the other.
        back: (b h w 2) from the other to the frame.

    Source: Sundaram et al., Dense Point Trajectories by GPU-accelerated Large Displacement
    Optical Flow, ECCV 2010; Ruder et al., arXiv:1604.08610.
    """
    back = warp(back, forward)
    bound = RELATIVE * (_square(forward) + _square(back)) + ABSOLUTE
    return inside(forward) * (_square(forward + back) < bound)


def _flow(params: PyTree, x: Array, y: Array) -> Array:
    enlarge = 4 if min(x.shape[1:3]) <= 96 else 2  # about the 256 rows that RIFE was trained on
    found = _between(params, x, y, enlarge)
    step = -found.to_first
    for _ in range(ITERATIONS):
        step = -warp(found.to_first, step)
    return warp(found.to_last - found.to_first, step)


def _between(
    params: PyTree, first: Array, last: Array, enlarge: int, time: float | Array = 0.5
) -> Between:
    """Run the network on frames of any size, continued at the right and at the bottom."""
    h, w = first.shape[1:3]
    sides = ((0, 0), (0, -h % MULTIPLE), (0, -w % MULTIPLE), (0, 0))
    padded = (jnp.pad(frame, sides, mode="edge") for frame in (first, last))
    found = FlowNet(enlarge).apply({"params": params}, *padded, time)
    return jax.tree.map(lambda leaf: leaf[:, :h, :w], found)


def _square(flow: Array) -> Array:
    return jnp.sum(jnp.square(flow), axis=-1)


def _in_chunks(function: Callable, *arrays: Array) -> PyTree:
    """Apply a function of batches to `PAIRS` entries at a time; the last are repeated to fill."""
    if not (b := len(arrays[0])):
        raise InputError("no pairs of frames are given: give one at least")
    size = min(PAIRS, b)
    filled = [jnp.concatenate([a, jnp.repeat(a[-1:], -b % size, axis=0)]) for a in arrays]
    chunks = [rearrange(a, "(n size) h w c -> n size h w c", size=size) for a in filled]
    found = jax.lax.map(lambda chunk: function(*chunk), chunks)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:b], found)
