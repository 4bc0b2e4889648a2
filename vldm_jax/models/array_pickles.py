"""Pickles of NumPy arrays, read without trusting them.

A pickle can name any function of Python. The unpickler here resolves the names that rebuild a NumPy
array and refuses every other one.
"""

import io
import pickle
from typing import Any

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.typing import PyTree


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
