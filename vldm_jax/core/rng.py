"""Named random streams: one root key, no key in any state.

`stream(root, name, step)` = fold_in(fold_in(root, crc32(name)), step): the same in and out of jit,
on every host and after a restart, so a run is reproduced from (seed, step) alone.
"""

import zlib

import jax
from jaxtyping import Array, Int

from vldm_jax.typing import Key


def stream(root: Key, name: str, step: int | Int[Array, ""] | None = None) -> Key:
    """Return the key of the stream `name`, at `step` if one is given."""
    key = jax.random.fold_in(root, zlib.crc32(name.encode()))
    return key if step is None else jax.random.fold_in(key, step)
