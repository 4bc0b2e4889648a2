"""Arrays in files, whole or with an error."""

import os

import numpy as np

from vldm_jax.typing import Shaped


def save_array(path: str | os.PathLike[str], array: Shaped[np.ndarray, "..."]) -> None:
    """Write an array that `np.load` reads.

    `np.save` leaves to C what it writes, and does not hear that a disk had no room for the last of
    it: a file is cut short, and nothing says so.

    Raises:
        OSError: if there is no room.
    """
    head = np.lib.format.header_data_from_array_1_0(whole := np.asarray(array, order="C"))
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, head)
        file.write(whole.tobytes())
