"""Classifier-free guidance: two answers of one network, extrapolated.

    f' = f(null) + scale (f(cond) - f(null))                                         (1)

The pair runs as one batch of twice the size. The two conditions are any two with the same keys:
text against the empty prompt, labels against dropped labels, context frames against masked ones
(context guidance, paper Eq. 4). The scale may change over frames: `linear_scale` grows it with the
distance from the first, as Stable Video Diffusion does.

Source: arXiv:2207.12598; Align your Latents, arXiv:2304.08818, Eq. 4.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp

from vldm_jax.core.shapes import expand_like
from vldm_jax.typing import Array, Conditioning, Float

Network: TypeAlias = Callable[[Array, Array, Conditioning], Array]
Predict: TypeAlias = Callable[[Array, Array], Array]


def guided(
    network: Network,
    cond: Conditioning,
    null_cond: Conditioning,
    scale: float | int | Float[Array, ""] | Float[Array, " t"],
) -> Predict:
    """Return predict(z, time) that answers with guidance, Eq. 1.

    Args:
        network: `network(z, time, cond)`, z (b ...), time (b), any prediction target.
        cond: what is wanted, batch b.
        null_cond: what to move away from, batch b, with the same keys.
        scale: 1 is no guidance (a Python 1 runs the network on `cond` alone, at half the cost); an
            array (t) gives each frame its own, for z (b t h w c).

    Raises:
        ValueError: on the first call, if one condition has a key that the other lacks, or a scale
            for each frame meets a z without frames or with another number of them.
    """
    if isinstance(scale, float | int) and scale == 1:
        return lambda z, time: network(z, time, cond)

    def predict(z: Array, time: Array) -> Array:
        both = network(_twice(z), _twice(time), _stack(null_cond, cond))
        null, wanted = jnp.split(both, 2, axis=0)
        return null + _over_frames(scale, z) * (wanted - null)

    return predict


def linear_scale(first: float, last: float, num_frames: int) -> Float[Array, " t"]:
    """Return a guidance scale a frame, from `first` to `last` in equal steps.

    Source: Stable Video Diffusion, arXiv:2311.15127, App. D.
    """
    return jnp.linspace(first, last, num_frames, dtype=jnp.float32)


def _twice(a: Array) -> Array:
    return jnp.concatenate([a, a], axis=0)


def _stack(first: Conditioning, second: Conditioning) -> Conditioning:
    """Return both as one batch of twice the size, `first` leading."""
    if first.keys() != second.keys():
        raise ValueError(
            f"the two conditions of guidance have other keys: {sorted(first)} and {sorted(second)}"
        )
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis=0), first, second)


def _over_frames(scale: float | Array, z: Array) -> float | Array:
    if isinstance(scale, float | int) or scale.ndim == 0:
        return scale
    if z.ndim != 5:
        raise ValueError(f"a guidance scale a frame needs z (b t h w c), got {z.shape}")
    return expand_like(scale[None], z)
