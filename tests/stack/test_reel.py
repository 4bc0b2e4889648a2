"""Latents in pieces: found again after a stop, read across pieces, on the device while they fit."""

import jax.numpy as jnp
import numpy as np
import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.stack.reel import Reel

PIECES = [np.random.default_rng(i).normal(size=(2, n, 2, 2, 1)) for i, n in enumerate((3, 1, 4))]
PIECES = [piece.astype(np.float32) for piece in PIECES]
WHOLE = np.concatenate(PIECES, axis=1)


def filled(folder, **fields):
    reel = Reel(folder, **fields)
    for piece in PIECES:
        reel.append(jnp.asarray(piece))
    return reel


@pytest.mark.parametrize("room", [0, 100, 1 << 20])
def test_frames_are_read_across_pieces_from_wherever_they_are(tmp_path, room):
    reel = filled(tmp_path, room=room)
    for start, stop in ((0, 8), (2, 5), (3, 4), (7, 8)):
        np.testing.assert_array_equal(reel.between(start, stop), WHOLE[:, start:stop])
    again = Reel(tmp_path)
    assert (len(again), again.pieces) == (8, 3)
    np.testing.assert_array_equal(again.between(1, 7), WHOLE[:, 1:7])


def test_frames_that_are_not_there_are_an_error(tmp_path):
    reel = filled(tmp_path)
    with pytest.raises(IndexError, match="frames 0 to 7, not 5:9"):
        reel.between(5, 9)


def test_a_damaged_piece_is_named(tmp_path):
    filled(tmp_path)
    (tmp_path / "000001.npy").write_bytes(b"no array")
    with pytest.raises(InputError, match="000001.npy is damaged"):
        Reel(tmp_path)
