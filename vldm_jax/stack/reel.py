"""Latents, or frames, of videos on their way from part to part, appended a piece at a time.

Each piece is a file, so that a stopped run goes on after the last; and stays on the device as long
as all of them fit in the room that they are given, so that the next part takes them from there.
"""

from bisect import bisect_left, bisect_right
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from vldm_jax.core.arrays import save_array
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import atomic_path
from vldm_jax.typing import Array, Shaped

ROOM = 1 << 30  # bytes on the device


class Reel:
    """Latents or frames (b t h w c) in pieces along t.

    Args:
        folder: of the pieces' files, made if it is not there.
        room: bytes of pieces that stay on the device.

    Raises:
        InputError: if a file of the folder is no piece.
    """

    def __init__(self, folder: Path, room: int = ROOM) -> None:
        self.folder, self._room = folder, room
        folder.mkdir(parents=True, exist_ok=True)
        self._kept: dict[int, Array] = {}
        self._starts = [0]
        while (file := self._file(self.pieces)).exists():
            try:
                count = np.load(file, mmap_mode="r").shape[1]
            except (ValueError, OSError, IndexError, EOFError) as error:
                raise InputError(f"{file} is damaged ({error}): remove it, and go on") from error
            self._starts.append(self._starts[-1] + count)

    @property
    def pieces(self) -> int:
        """Number of pieces so far."""
        return len(self._starts) - 1

    def __len__(self) -> int:
        """Frames so far."""
        return self._starts[-1]

    def append(self, z: Shaped[Array, "b t h w c"]) -> None:
        """Add the next piece.

        Raises:
            InputError: if a number of it is not finite.
        """
        host = np.asarray(z)
        if not np.isfinite(host).all():
            raise InputError(
                f"{self.folder.name}: frames from {len(self)} on are not finite numbers: the "
                "weights are damaged, or were trained for another diffusion or precision"
            )
        with atomic_path(self._file(self.pieces)) as temporary:
            save_array(temporary, host)
        if sum(piece.nbytes for piece in self._kept.values()) + host.nbytes <= self._room:
            self._kept[self.pieces] = z
        self._starts.append(len(self) + host.shape[1])

    def between(self, start: int, stop: int) -> Shaped[Array, "b t h w c"]:
        """Return the frames [start, stop), which must be there.

        Raises:
            IndexError: if they are not.
        """
        if not 0 <= start < stop <= len(self):
            raise IndexError(f"{self.folder} has frames 0 to {len(self) - 1}, not {start}:{stop}")
        pieces = range(bisect_right(self._starts, start) - 1, bisect_left(self._starts, stop))
        parts = []
        for piece in pieces:
            first = self._starts[piece]
            parts.append(self._piece(piece)[:, max(start - first, 0) : stop - first])
        return jnp.concatenate(parts, axis=1)

    def forget(self) -> None:
        """Give the device's memory back; the files stay."""
        self._kept.clear()

    def _piece(self, number: int) -> Array:
        if number in self._kept:
            return self._kept[number]
        return jax.device_put(np.load(self._file(number)))

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:06}.npy"
