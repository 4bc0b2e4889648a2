"""A whole conditioning: what it must hold, its null values, and dropping."""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from vldm_jax.conditions.base import Condition
from vldm_jax.conditions.table import CONDITIONS
from vldm_jax.conditions.text import TemporalText, Text
from vldm_jax.core.errors import InputError
from vldm_jax.core.rng import stream
from vldm_jax.typing import Conditioning, Key

ALSO, IN_VIDEOS = ("concat",), ("image_only",)  # keys of no condition that networks take


def needs(conditions: Iterable[Condition]) -> tuple[str, ...]:
    """Return the batch keys of the conditions that a network cannot do without."""
    return tuple(c.key for c in conditions if c.required)


def examples(
    conditions: Iterable[Condition], latent: tuple[int, ...]
) -> dict[str, jax.ShapeDtypeStruct]:
    """Return shapes of the values from which all parameters of a network are made, with b = 1.

    Args:
        conditions: of the network; those that it can do without, and that have no parameters of
            their own, are left out.
        latent: shape (1 [t] h w c) of z.
    """
    return {c.key: c.example_for(latent) for c in conditions if c.required or c.of_clip}


def null_of(
    conditions: Iterable[Condition], cond: Conditioning, given: Mapping[str, Any]
) -> Conditioning:
    """Return the conditioning with every condition's null value; what knows none stays.

    Args:
        conditions: of a network.
        cond: what the samples are to be; keys of no condition (`concat`, `image_only`) stay.
        given: null values by key, see `Condition.null`.

    Raises:
        InputError: if a null value is missing or does not fit.
    """
    nulls = {c.key: c.null(jnp.asarray(cond[c.key]), given) for c in conditions if c.key in cond}
    return {**cond, **nulls}


def drop(
    conditions: Iterable[Condition],
    cond: Conditioning,
    key: Key,
    p: float | int,
    given: Mapping[str, Any],
) -> Conditioning:
    """Return the conditioning with each entry of each condition null with probability p.

    Every condition draws from a stream of its own; labels are dropped one by one.

    Args:
        conditions: of a network.
        cond: of a batch.
        key: random key of this step.
        p: probability; at 0 nothing has to be `given`.
        given: null values by key, see `Condition.null`.

    Source: Align your Latents, arXiv:2304.08818, App. E (day or night and crowdedness, each).

    Raises:
        InputError: if a null value is missing or does not fit.
    """
    if p == 0:
        return cond
    dropped = {
        c.key: c.drop(jnp.asarray(cond[c.key]), stream(key, c.key), p, given)
        for c in conditions
        if c.key in cond
    }
    return {**cond, **dropped}


def check(
    conditions: Iterable[Condition],
    cond: Conditioning,
    *,
    token_width: int | None,
    video: bool,
) -> None:
    """Raise unless a conditioning has what a network needs and nothing that it does not take.

    Args:
        conditions: of the network.
        cond: the conditioning.
        token_width: of its context tokens; None without cross-attention.
        video: whether it is a video U-Net.

    Raises:
        InputError: naming the key.
    """
    taken: dict[str, Condition] = {}
    for condition in conditions:
        key = condition.key
        if key in taken:
            raise InputError(f"U-Net: two conditions have the key {key!r}; leave one out")
        if condition.gives_tokens and token_width is None:
            raise InputError(f"U-Net: {key} become context tokens, which need a context_dim")
        if condition.of_image and video:
            raise InputError(
                f"U-Net: {key} are of one image, a video U-Net does not take them: let an image "
                "model make the first frame of them, and leave them out of more_conditions here"
            )
        if condition.required and key not in cond:
            raise InputError(
                f"U-Net: the network has {condition.field}, but the conditioning has no {key}"
            )
        taken[key] = condition
    if strange := sorted(cond.keys() - taken.keys() - {*ALSO, *(IN_VIDEOS if video else ())}):
        raise InputError(f"U-Net: conditioning has {strange[0]}, but {_lack(strange[0], taken)}")


def _lack(key: str, taken: Iterable[str]) -> str:
    """Say what a network would need to take a key."""
    needed = {row.key: row.field for row in CONDITIONS.values()}
    if key == TemporalText.key and Text.key in taken or key == "image_only":
        return f"the network has no temporal layers; leave {key} out"
    field = needed.get(key, "more_conditions")
    if field != "more_conditions":
        return f"the network has no {field}; set it or leave {key} out"
    return (
        f"the network takes {', '.join(taken) or 'nothing'}; give it a condition of that key in "
        f"more_conditions or leave {key} out"
    )
