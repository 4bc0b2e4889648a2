"""The denoising loss, one value a sample, and the one weighting offered for it.

    loss = E || y - f(z_time; cond, time) ||^2                                       (1)

averaged over everything but the batch. The paper mentions no weighting; `min_snr_weight` is there
for training from zero, where the gradients of different times disagree. Not here: the expectation
over times (`process.py`) and the reduction over the batch (the objectives decide).

Source: Align your Latents, arXiv:2304.08818, Eq. 1.
"""

import dataclasses

import jax.numpy as jnp

from vldm_jax.diffusion.schedules import Schedule
from vldm_jax.diffusion.targets import find_target
from vldm_jax.typing import Array, Float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Diffusion:
    """What the forward process and the loss are.

    Attributes:
        schedule: noise schedule.
        target: "epsilon", "v" or "x0": what the network predicts.
        min_snr_gamma: cap of the signal-to-noise weight; None (the paper) weights all times alike.
    """

    schedule: Schedule
    target: str
    min_snr_gamma: float | None = None


def prediction_loss(
    prediction: Float[Array, " b *rest"],
    target: Float[Array, " b *rest"],
) -> Float[Array, " b"]:
    """Return the mean squared error of each sample in float32, Eq. 1.

    Args:
        prediction: (b ...) the network's output.
        target: (b ...) from `make_target`.
    """
    error = prediction.astype(jnp.float32) - target.astype(jnp.float32)
    return jnp.mean(error**2, axis=tuple(range(1, error.ndim)))


def min_snr_weight(
    target: str,
    alpha: Float[Array, " b"],
    sigma: Float[Array, " b"],
    gamma: float = 5.0,
) -> Float[Array, " b"]:
    """Return the weight that makes the loss min(snr, gamma) |x0 error|^2, snr = alpha^2 / sigma^2.

    The same quantity for each target: an epsilon error is snr times, a v error snr + 1 times the x0
    error. Written so that snr = 0 gives the limit.

    Raises:
        InputError: if the target is unknown.

    Source: arXiv:2303.09556, Sec. 3.4.
    """
    find_target(target)
    signal, noise = alpha**2, sigma**2
    match target:
        case "epsilon":
            return jnp.minimum(1.0, gamma * noise / signal)
        case "v":
            return jnp.minimum(signal, gamma * noise)
        case _:
            return jnp.minimum(signal / noise, gamma)
