"""The denoising loss that every denoising stage shares.

    time ~ U{0..N-1}  one a sample (one a clip),   eps ~ N(0, I)  independent over everything
    z = alpha z0 + sigma eps,   loss = mean (y - f(z, time, c))^2,   y = eps, v or x0         (1)

Not here: what z0 and the conditioning c are; that is in what the stages differ.

Source: Align your Latents, arXiv:2304.08818, Eq. 1.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from vldm_jax.core.rng import stream
from vldm_jax.diffusion.losses import Diffusion, min_snr_weight, prediction_loss
from vldm_jax.diffusion.process import add_noise, alpha_sigma, uniform_time
from vldm_jax.diffusion.targets import make_target
from vldm_jax.training.objective import Mean
from vldm_jax.typing import Array, Conditioning, Float, Int, Key, PyTree


def denoising_loss(
    predict: Callable,
    diffusion: Diffusion,
    params: PyTree,
    z0: Float[Array, " b *rest"],
    cond: Conditioning,
    key: Key,
) -> tuple[Float[Array, ""], dict[str, Any]]:
    """Return the batch's loss (1), and its metrics by quarter of the diffusion time.

    Args:
        predict: (params, z, time, cond, key) -> the network's output, shape of z; the key is for
            dropout.
        diffusion: schedule, target and weighting.
        params: the network's parameters.
        z0: (b ...) scaled clean latents.
        cond: what the network is told, dropping already done.
        key: key of this step.
    """
    schedule = diffusion.schedule
    time = uniform_time(stream(key, "time"), z0.shape[0], schedule)
    eps = jax.random.normal(stream(key, "noise"), z0.shape, jnp.float32)
    alpha, sigma = alpha_sigma(schedule, time)
    z = add_noise(z0, eps, alpha, sigma)
    prediction = predict(params, z, time, cond, stream(key, "dropout"))
    target = make_target(diffusion.target, z0, eps, alpha, sigma)
    losses = prediction_loss(prediction, target)
    metrics = loss_by_quartile(losses, time, schedule.num_steps)
    if diffusion.min_snr_gamma is not None:
        gamma = diffusion.min_snr_gamma
        losses = losses * min_snr_weight(diffusion.target, alpha, sigma, gamma)
    return jnp.mean(losses), metrics


def loss_by_quartile(
    losses: Float[Array, " b"], time: Int[Array, " b"], num_steps: int
) -> dict[str, Mean]:
    """Return the unweighted loss in each quarter of time: loss_time_q1 (least noise) ... q4."""
    quartile = time * 4 // num_steps
    inside = [(quartile == index).astype(jnp.float32) for index in range(4)]
    return {
        f"loss_time_q{index + 1}": Mean(jnp.sum(losses * mask), jnp.sum(mask))
        for index, mask in enumerate(inside)
    }
