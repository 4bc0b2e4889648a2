"""The denoising loss that the image, video and upsampling objectives share.

    time ~ U{0..N-1}  one a sample (one a clip),   eps ~ N(0, I)  independent over everything
    z = alpha z0 + sigma eps,   loss = mean (y - f(z, time, c))^2,   y = eps, v or x0         (1)

Not here: what z0 and the conditioning c are; that is all in which the objectives differ.

Source: Align your Latents, arXiv:2304.08818, Eq. 1.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from vldm_jax.core.rng import stream
from vldm_jax.diffusion.losses import min_snr_weight, prediction_loss
from vldm_jax.diffusion.process import add_noise, alpha_sigma, uniform_time
from vldm_jax.diffusion.schedules import Schedule
from vldm_jax.diffusion.targets import make_target
from vldm_jax.training.objectives.base import Mean, drop_context, drop_labels
from vldm_jax.typing import Array, Bool, Conditioning, Float, Int, Key, PyTree


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
        predict: (params, z, time, cond) -> the network's output, shape of z.
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
    prediction = predict(params, add_noise(z0, eps, alpha, sigma), time, cond)
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


def conditions(
    batch: dict[str, Any], drop: Bool[Array, " b"], *, use_labels: bool, null_context: Any
) -> Conditioning:
    """Return the batch's labels and text, both null in samples where `drop` is True.

    Args:
        batch: with "labels" (b k) if `use_labels`, "context" (b n d) if `null_context` is given.
        drop: (b) which samples train the unconditional model.
        use_labels: whether the network takes labels.
        null_context: (n d) tokens of the empty prompt, or None.
    """
    cond = {}
    if use_labels:
        cond["labels"] = drop_labels(batch["labels"], drop)
    if null_context is not None:
        cond["context"] = drop_context(batch["context"], jnp.asarray(null_context), drop)
    return cond


def condition_needs(use_labels: bool, null_context: Any) -> tuple[str, ...]:
    """Return the batch keys that `conditions` reads."""
    return ("labels",) * use_labels + ("context",) * (null_context is not None)
