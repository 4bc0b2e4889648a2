"""Warp error: how much of a video no motion explains.

Each frame y is predicted from the one before, x, by following the optical flow from y to x back:

    error = mean over p in V of |y(p) - x(p + F(p))|

with V the pixels that both frames show (`vldm_jax.evals.flow.visible`). Flicker and boiling raise
it, a steady or frozen video has little: read it beside the amount of motion, and beside what real
clips of the same size and frame rate have.

Deviation: Lai et al. square the differences and leave out motion boundaries, too.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.evals.flow import flow_and_visible
from vldm_jax.evals.networks.resample import warp
from vldm_jax.evals.pairs import over_pairs, to_x
from vldm_jax.typing import Array, Float, PyTree, UInt8


@dataclasses.dataclass(frozen=True, kw_only=True)
class WarpErrors:
    """Mean absolute differences in [0, 1] of each frame but the first from its prediction.

    Attributes:
        visible: over the pixels that both frames show; 0.0 where `share` is.
        everywhere: over all pixels, of which a cut leaves none visible.
        share: of the pixels that both frames show, in [0, 1].
    """

    visible: Float[np.ndarray, "b pairs"]
    everywhere: Float[np.ndarray, "b pairs"]
    share: Float[np.ndarray, "b pairs"]

    def mean(self) -> float:
        """Return the error of all visible pixels.

        Raises:
            InputError: if there are none: the set has no error, and none is made up.
        """
        if not self.share.any():
            raise InputError("no pixel is visible in two frames: give videos without a cut a frame")
        return float(np.average(self.visible, weights=self.share))


def warp_errors(params: PyTree, videos: UInt8[np.ndarray, "b t h w 3"]) -> WarpErrors:
    """Return the errors of every pair of consecutive frames.

    Args:
        params: of `load_flow_weights`.
        videos: frames with values in [0, 255], of any size.

    Raises:
        InputError: if there is no video or fewer than two frames.

    Source: Lai et al., Learning Blind Video Temporal Consistency, arXiv:1808.00449, warping error.
    """
    found = over_pairs(lambda before, after: _errors(params, before, after), videos)
    return WarpErrors(visible=found[0], everywhere=found[1], share=found[2])


def unexplained(
    before: Float[Array, "n h w 3"],
    after: Float[Array, "n h w 3"],
    flow: Float[Array, "n h w 2"],
    seen: Float[Array, "n h w"],
) -> tuple[Float[Array, " n"], Float[Array, " n"], Float[Array, " n"]]:
    """Return `visible`, `everywhere` and `share` of `WarpErrors`, a number a pair.

    Args:
        before: (n h w 3) in [-1, 1].
        after: the frames after those.
        flow: of `after` towards `before`, in pixels.
        seen: 1.0 where both show the same, of `flow.visible`.
    """
    error = jnp.mean(jnp.abs(after - warp(before, flow)), axis=-1) / 2  # [-1, 1] is two wide
    share = jnp.mean(seen, axis=(1, 2))
    visible = jnp.mean(error * seen, axis=(1, 2)) / jnp.where(share > 0, share, 1.0)
    return visible, jnp.mean(error, axis=(1, 2)), share


@jax.jit
def _errors(
    params: PyTree, before: UInt8[Array, "n h w 3"], after: UInt8[Array, "n h w 3"]
) -> tuple[Float[Array, " n"], Float[Array, " n"], Float[Array, " n"]]:
    before, after = to_x(before), to_x(after)
    return unexplained(before, after, *flow_and_visible(params, after, before))
