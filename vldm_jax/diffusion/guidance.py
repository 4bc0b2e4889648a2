"""Classifier-free guidance: answers of one network, extrapolated away from one or more others.

    f' = f(c) + sum_i (s_i - 1) (f(c) - f(c_i))                                      (1)

c_i is what is wanted without one thing: text against the empty prompt, labels dropped, no context
frame given (context guidance, paper Eq. 4). With one such direction this is the usual
f(c_1) + s_1 (f(c) - f(c_1)); with several, each has its own scale, and a scale of 1 leaves its
direction out: the others act as if it were not there. All answers are one batch.

The scale may change over frames: `linear_scale` grows it with the distance from the first, as
Stable Video Diffusion does.

Source: arXiv:2207.12598; Align your Latents, arXiv:2304.08818, Eq. 4. The sum is ours: the paper
does not say how its two guidances are joined.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from vldm_jax.core.shapes import expand_like
from vldm_jax.typing import Array, Conditioning, Float

Network: TypeAlias = Callable[[Array, Array, Conditioning], Array]
Predict: TypeAlias = Callable[[Array, Array], Array]


class Away(NamedTuple):
    """A direction of guidance.

    Attributes:
        cond: what to move away from, batch b, with the keys of what is wanted.
        scale: 1 is no guidance (a Python 1 asks the network nothing); an array (t) gives each frame
            its own, for z (b t h w c).
    """

    cond: Conditioning
    scale: float | int | Float[Array, ""] | Float[Array, " t"]


def guided(network: Network, cond: Conditioning, *directions: Away) -> Predict:
    """Return predict(z, time) that answers with guidance, Eq. 1.

    Args:
        network: `network(z, time, cond)`, z (b ...), time (b), any prediction target.
        cond: what is wanted, batch b.
        directions: what to move away from, and how far.

    Raises:
        ValueError: on the first call, if one condition has a key that the other lacks, or a scale
            for each frame meets a z without frames or with another number of them.
    """
    directions = tuple(one for one in directions if not _is_one(one.scale))
    if not directions:
        return lambda z, time: network(z, time, cond)
    count = len(directions) + 1

    def predict(z: Array, time: Array) -> Array:
        told = _stack(*(one.cond for one in directions), cond)
        answers = network(_times(count, z), _times(count, time), told)
        *others, wanted = jnp.split(answers, count, axis=0)
        out = wanted
        for direction, other in zip(directions, others, strict=True):
            out = out + (_over_frames(direction.scale, z) - 1) * (wanted - other)
        return out

    return predict


def linear_scale(first: float, last: float, num_frames: int) -> Float[Array, " t"]:
    """Return a guidance scale a frame, from `first` to `last` in equal steps.

    Source: Stable Video Diffusion, arXiv:2311.15127, App. D.
    """
    return jnp.linspace(first, last, num_frames, dtype=jnp.float32)


def _is_one(scale: float | int | Array) -> bool:
    return isinstance(scale, float | int) and scale == 1


def _times(count: int, a: Array) -> Array:
    return jnp.concatenate([a] * count, axis=0)


def _stack(*conds: Conditioning) -> Conditioning:
    """Return all as one batch, in their order."""
    for cond in conds[:-1]:
        if cond.keys() != conds[-1].keys():
            raise ValueError(
                f"two conditions of guidance have other keys: {sorted(cond)} and "
                f"{sorted(conds[-1])}"
            )
    return jax.tree.map(lambda *a: jnp.concatenate(a, axis=0), *conds)


def _over_frames(scale: float | int | Array, z: Array) -> float | int | Array:
    if isinstance(scale, float | int) or scale.ndim == 0:
        return scale
    if z.ndim != 5:
        raise ValueError(f"a guidance scale a frame needs z (b t h w c), got {z.shape}")
    return expand_like(scale[None], z)
