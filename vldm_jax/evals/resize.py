"""Frames to the size that a judging network takes.

Which filter resizes is part of a figure's definition: FID and FVD move by more than models differ
when it changes (arXiv:2104.11222). So each filter here is one of a reference implementation:

    bilinear            PyTorch's F.interpolate(mode="bilinear", align_corners=False), which aliases
                        when it shrinks: StyleGAN-V's FVD
    bilinear_antialias  the same with antialias=True, which is PIL's BILINEAR
    bicubic             PIL's BICUBIC (a = -0.5, antialiased), not rounded to bytes: clean-fid
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from vldm_jax.core.errors import InputError
from vldm_jax.typing import Array, Float


class Filter(NamedTuple):
    """How `jax.image.resize` is called; antialiasing widens the kernel where it shrinks."""

    method: str
    antialias: bool


FILTERS = {
    "bilinear": Filter("linear", antialias=False),
    "bilinear_antialias": Filter("linear", antialias=True),
    "bicubic": Filter("cubic", antialias=True),
}


def resize(
    x: Float[Array, "b h w 3"], size: tuple[int, int], filter: str
) -> Float[Array, "b h2 w2 3"]:
    """Return the frames at another size, in float32 and unclipped: bicubic overshoots.

    Args:
        x: (b h w 3) in any range.
        size: height and width.
        filter: a name of `FILTERS`.

    Raises:
        InputError: if the filter is unknown.
    """
    if filter not in FILTERS:
        raise InputError(f"filter {filter!r} is unknown: use one of {sorted(FILTERS)}")
    method, antialias = FILTERS[filter]
    shape = (x.shape[0], *size, 3)
    return jax.image.resize(x.astype(jnp.float32), shape, method, antialias=antialias)
