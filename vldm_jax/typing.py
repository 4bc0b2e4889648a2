"""The type vocabulary: array annotations of jaxtyping with the axis letters of the house.

Axes: b batch, t frames, h w space, c channels, n tokens, d width, heads, s sampler steps. A video
is `b t h w c` everywhere. `Array` is jax's array (concrete or traced); NumPy's are `np.ndarray`.
"""

from typing import Any, TypeAlias

import jax
from jaxtyping import Array, Bool, Float, Int, Shaped, UInt8

PyTree: TypeAlias = Any
Key: TypeAlias = jax.Array
DTypeLike: TypeAlias = Any
Conditioning: TypeAlias = dict[str, Any]  # what a network is told beside z and time, by key

__all__ = [
    "Array",
    "Bool",
    "Conditioning",
    "DTypeLike",
    "Float",
    "Int",
    "Key",
    "PyTree",
    "Shaped",
    "UInt8",
]
