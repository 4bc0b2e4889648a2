"""What each field of a U-Net may be, and which of them must be as long as others."""

from typing import Any

from vldm_jax.core.errors import InputError
from vldm_jax.core.fields import (
    COUNT,
    FLAG,
    NATURAL,
    POSITIVE,
    RATE,
    TEXT,
    WHOLE,
    either,
    optional,
    several,
)

RULES = {
    "channels": several(COUNT),
    "attention": several(FLAG),
    "layers_per_level": COUNT,
    "out_channels": COUNT,
    "heads": optional(either(COUNT, several(COUNT))),
    "head_dim": optional(WHOLE),
    "context_dim": optional(COUNT),
    "only_cross_attention": several(FLAG, least=0),
    "linear_projection": FLAG,
    "norm_groups": COUNT,
    "norm_eps": either(POSITIVE, several(POSITIVE)),
    "num_classes": optional(COUNT),
    "added_time_ids": NATURAL,
    "added_time_width": COUNT,
    "label_tokens": several(TEXT, least=0),
    "dropout": RATE,
    "remat": FLAG,
}


def check_lengths(net: Any) -> None:
    """Raise unless what a U-Net has of each level, or of each stage, is as many as it has those.

    Raises:
        InputError: naming the field.
    """
    levels = len(net.channels)
    wanted = {"attention": levels, "heads": levels, "norm_eps": 2 * levels + 1}
    if net.only_cross_attention:
        wanted["only_cross_attention"] = levels
    for name, entries in wanted.items():
        value = getattr(net, name)
        if isinstance(value, tuple) and len(value) != entries:
            each = "stage (down, middle, up)" if name == "norm_eps" else "level"
            raise InputError(
                f"U-Net: {name} {value} must have one entry per {each}: {entries} for "
                f"channels {net.channels}"
            )
