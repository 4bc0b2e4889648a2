"""What a step needs of what it minimises.

An objective knows no optimiser and no device; it is given the *whole* parameter tree and does not
know which part is trained. Stages are objectives (`vldm_jax.stages`).
"""

from typing import Any, Protocol, runtime_checkable

from flax import struct

from vldm_jax.typing import Array, Float, Int, Key, PyTree


@runtime_checkable
class Objective(Protocol):
    """What a step calls.

    Attributes:
        needs: the keys of a batch that `loss` reads; everything else stays on the host.
    """

    @property
    def needs(self) -> tuple[str, ...]:
        """Return the keys of the batch that `loss` reads."""
        ...

    def loss(
        self, params: PyTree, batch: dict[str, Any], key: Key, step: Int[Array, ""]
    ) -> tuple[Float[Array, ""], dict[str, Any]]:
        """Return (loss, metrics) of a batch.

        Args:
            params: the whole tree, e.g. {"network": ..., "autoencoder": ...}.
            batch: the arrays named by `needs`, every one leading with b.
            key: the random key of this step.
            step: number of updates done before this one.

        Returns:
            The scalar that is minimised, and metrics: float32 scalars or `Mean`s by name.
        """
        ...


@struct.dataclass
class Mean:
    """A metric whose weight differs from batch to batch: total / count, both added up over batches.

    Attributes:
        total: sum of the values.
        count: number of the values; may be 0.
    """

    total: Any
    count: Any
