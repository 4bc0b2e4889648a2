"""The two precision policies.

"float32": everything float32. "bfloat16": the frozen parameters are stored in bfloat16 and the
networks compute in it (their `dtype` field, set where they are built); the trained parameters,
their moments and average, the gradient sum, the schedule and the loss stay float32. So does the
autoencoder that a stage stands on, or its encoder alone: it is small, and bfloat16's eight bits
show as bands in pixels.
"""

import jax
import jax.numpy as jnp

from vldm_jax.core.errors import InputError
from vldm_jax.typing import DTypeLike, PyTree

POLICIES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
EXACT = ("autoencoder", "encoder")  # sub-trees that no policy rounds


def compute_dtype(policy: str) -> DTypeLike:
    """Return the `dtype` field of networks under the policy "float32" or "bfloat16".

    Raises:
        InputError: if there is no such policy.
    """
    if policy not in POLICIES:
        raise InputError(f"precision={policy!r}: choose one of {tuple(POLICIES)}")
    return POLICIES[policy]


def cast_frozen(frozen: PyTree, policy: str) -> PyTree:
    """Return the frozen parameters as they are stored on the device under the policy."""
    dtypes = {name: compute_dtype(policy) for name in frozen} | dict.fromkeys(EXACT, jnp.float32)
    return {
        name: jax.tree.map(lambda leaf, dtype=dtypes[name]: jnp.asarray(leaf, dtype), tree)
        for name, tree in frozen.items()
    }
