"""Which way up a frame is shown: the display matrix of phones, cameras and `ffmpeg -display_hflip`.

The matrix (a b u, c d v, x y w) sends a stored point (x, y) to (a x + c y, b x + d y), y downwards.
Of all matrices only the eight that turn by quarters and mirror keep a frame a frame; its scale is
in the pixel aspect already. An angle in between is refused.
"""

import struct
from dataclasses import dataclass

import av
import numpy as np
from av.sidedata.sidedata import Type
from jaxtyping import UInt8

from vldm_jax.data.faults import Fault
from vldm_jax.data.side_data import side_data

SLACK = 0.02  # of a turn's sine: a degree


@dataclass(frozen=True, kw_only=True)
class Orientation:
    """How stored frames become upright: first the axes change places, then they turn round.

    Attributes:
        transposed: rows become columns.
        upside_down: the rows, after that, are stored last first.
        mirrored: the columns, after that, are.
    """

    transposed: bool = False
    upside_down: bool = False
    mirrored: bool = False

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """Return rows and columns as shown of a frame with these as stored."""
        return (width, height) if self.transposed else (height, width)

    def upright(self, image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "rows columns 3"]:
        """Return the image as shown."""
        if self.transposed:
            image = image.swapaxes(0, 1)
        rows, columns = -1 if self.upside_down else 1, -1 if self.mirrored else 1
        return np.ascontiguousarray(image[::rows, ::columns])


AS_STORED = Orientation()


def orientation(frame: av.VideoFrame) -> Orientation:
    """Return how a frame is to be shown.

    Raises:
        Fault: if its matrix does more than turn by quarters and mirror.
    """
    try:
        data = side_data(frame, Type.DISPLAYMATRIX)
    except LookupError:
        return _turned(frame.rotation)
    return AS_STORED if data is None else _of_matrix(struct.unpack("=9i", data))


def _of_matrix(matrix: tuple[int, ...]) -> Orientation:
    a, b, _, c, d, *_ = matrix
    if max(abs(b), abs(c)) <= SLACK * min(abs(a), abs(d)):
        return Orientation(upside_down=d < 0, mirrored=a < 0)
    if max(abs(a), abs(d)) <= SLACK * min(abs(b), abs(c)):
        return Orientation(transposed=True, upside_down=b < 0, mirrored=c < 0)
    raise Fault("tilted", "its display matrix turns it by no quarter of a turn")


def _turned(degrees: int) -> Orientation:
    """A turn counterclockwise, without what else the matrix says."""
    if degrees % 90:
        raise Fault("tilted", f"its display matrix turns it by {degrees} degrees")
    cosine, sine = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees % 360]
    return _of_matrix((cosine, -sine, 0, sine, cosine, 0, 0, 0, 1))
