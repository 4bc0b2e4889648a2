"""What the network predicts, and how one prediction becomes another.

Every target is a view of one canonical pair (x0, eps) with z = alpha x0 + sigma eps:

    epsilon:  y = eps                      x0 = (z - sigma y) / alpha     eps = y
    v:        y = alpha eps - sigma x0     x0 = alpha z - sigma y         eps = sigma z + alpha y
    x0:       y = x0                       x0 = y                      eps = (z - alpha y) / sigma

A target is made from the pair and the pair recovered from a prediction; a conversion is the one
after the other, so a new target is one entry of `TARGETS`. Everything is float32. The divisions are
by what vanishes where the target carries no information: alpha at pure noise (epsilon), sigma at
clean data (x0).

Source: Align your Latents, arXiv:2304.08818, Sec. 2; v: arXiv:2202.00512, App. D.
"""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp

from vldm_jax.core.errors import InputError
from vldm_jax.core.shapes import expand_like
from vldm_jax.typing import Array, Float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """One prediction target: `make`(x0, eps, alpha, sigma) -> y; `recover`(y, z, alpha, sigma)."""

    make: Callable[[Array, Array, Array, Array], Array]
    recover: Callable[[Array, Array, Array, Array], tuple[Array, Array]]


TARGETS = {
    "epsilon": Target(
        make=lambda x0, eps, alpha, sigma: eps,
        recover=lambda y, z, alpha, sigma: ((z - sigma * y) / alpha, y),
    ),
    "v": Target(
        make=lambda x0, eps, alpha, sigma: alpha * eps - sigma * x0,
        recover=lambda y, z, alpha, sigma: (alpha * z - sigma * y, sigma * z + alpha * y),
    ),
    "x0": Target(
        make=lambda x0, eps, alpha, sigma: x0,
        recover=lambda y, z, alpha, sigma: (y, (z - alpha * y) / sigma),
    ),
}


def find_target(name: str) -> Target:
    """Return the target called `name`.

    Raises:
        InputError: if there is none.
    """
    if name not in TARGETS:
        raise InputError(f"unknown prediction target {name!r}: use one of {', '.join(TARGETS)}")
    return TARGETS[name]


def make_target(
    target: str,
    x0: Float[Array, " b *rest"],
    eps: Float[Array, " b *rest"],
    alpha: Float[Array, "*b"],
    sigma: Float[Array, "*b"],
) -> Float[Array, " b *rest"]:
    """Return what a network with this target should predict for z = alpha x0 + sigma eps.

    Args:
        target: "epsilon", "v" or "x0".
        x0: (b ...) clean latents.
        eps: (b ...) the noise that was added.
        alpha: (b) or (), as given to `add_noise`.
        sigma: (b) or (), as given to `add_noise`.

    Raises:
        InputError: if the target is unknown.
    """
    x0, eps = x0.astype(jnp.float32), eps.astype(jnp.float32)
    return find_target(target).make(x0, eps, expand_like(alpha, x0), expand_like(sigma, x0))


def to_x0_eps(
    target: str,
    prediction: Float[Array, " b *rest"],
    z: Float[Array, " b *rest"],
    alpha: Float[Array, "*b"],
    sigma: Float[Array, "*b"],
) -> tuple[Float[Array, " b *rest"], Float[Array, " b *rest"]]:
    """Return the canonical pair (x0, eps) that a prediction at z stands for.

    Args:
        target: "epsilon", "v" or "x0": what `prediction` is of.
        prediction: (b ...) the network's output.
        z: (b ...) noisy latents, variance-preserving.
        alpha: (b) or (); not 0 for epsilon.
        sigma: (b) or (); not 0 for x0.

    Raises:
        InputError: if the target is unknown.
    """
    prediction, z = prediction.astype(jnp.float32), z.astype(jnp.float32)
    return find_target(target).recover(prediction, z, expand_like(alpha, z), expand_like(sigma, z))


def convert(
    source: str,
    target: str,
    prediction: Float[Array, " b *rest"],
    z: Float[Array, " b *rest"],
    alpha_and_sigma: tuple[Float[Array, "*b"], Float[Array, "*b"]],
) -> Float[Array, " b *rest"]:
    """Return a prediction of `source` as the prediction of `target` that says the same.

    Raises:
        InputError: if a target is unknown.
    """
    x0, eps = to_x0_eps(source, prediction, z, *alpha_and_sigma)
    return make_target(target, x0, eps, *alpha_and_sigma)
