"""All that figures take of a clip's optical flow, from one pair of flows a pair of frames.

A row holds of p pairs of frames, with the names of `warp.WarpErrors`,

    p   visible * share, so that sums over pairs are sums over pixels
    p   share
    p   everywhere
    29  the statistics of the flow forward (`flow_statistics`)
"""

import functools
from typing import NamedTuple

import jax
import numpy as np

from vldm_jax.evals.flow import flows_and_visible
from vldm_jax.evals.flow_statistics import FEATURES, flow_statistics
from vldm_jax.evals.pairs import over_pairs, to_x
from vldm_jax.evals.warp import unexplained
from vldm_jax.typing import Array, Float, PyTree, UInt8


class FlowRows(NamedTuple):
    """The parts of rows, a clip first; see the module."""

    visible: Float[np.ndarray, "b pairs"]
    share: Float[np.ndarray, "b pairs"]
    everywhere: Float[np.ndarray, "b pairs"]
    statistics: Float[np.ndarray, "b 29"]


def flow_rows(params: PyTree, videos: UInt8[np.ndarray, "b t h w 3"]) -> Float[np.ndarray, "b d"]:
    """Return a row a clip.

    Args:
        params: of `load_flow_weights`.
        videos: frames with values in [0, 255]; the flows of all are in memory.

    Raises:
        InputError: if there is no video or fewer than two frames.
    """
    found = over_pairs(functools.partial(_of_pairs, params), videos)
    visible, everywhere, share, flows = found
    statistics = np.stack([flow_statistics(one) for one in flows])
    return np.concatenate([visible * share, share, everywhere, statistics], axis=1)


def parts_of(rows: Float[np.ndarray, "b d"]) -> FlowRows:
    """Return the parts of what `flow_rows` made."""
    pairs = (rows.shape[1] - len(FEATURES)) // 3
    return FlowRows(*np.split(rows, [pairs, 2 * pairs, 3 * pairs], axis=1))


@jax.jit
def _of_pairs(
    params: PyTree, before: UInt8[Array, "n h w 3"], after: UInt8[Array, "n h w 3"]
) -> tuple[Float[Array, " n"], Float[Array, " n"], Float[Array, " n"], Float[Array, "n h w 2"]]:
    before, after = to_x(before), to_x(after)
    back, forward, seen = flows_and_visible(params, after, before)
    return *unexplained(before, after, back, seen), forward
