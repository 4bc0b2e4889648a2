"""One switch for recomputing activations in the backward pass instead of storing them."""

from collections.abc import Callable

import flax.linen as nn


def maybe_remat(layer: Callable, remat: bool) -> Callable:
    """Return `layer(module, *arrays)`, rematerialised on the backward pass if asked.

    Parameters keep their paths: submodules that the layer makes belong to `module`.
    """
    return nn.remat(layer) if remat else layer
