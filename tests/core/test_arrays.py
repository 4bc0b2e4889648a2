"""Arrays in files: read as they were, and never cut short in silence."""

import resource

import numpy as np
import pytest

from vldm_jax.core.arrays import save_array
from vldm_jax.core.files import atomic_path


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array(3.0, np.float32),
        np.zeros((0, 3), np.int32),
    ],
)
def test_a_saved_array_is_read_as_it_was(tmp_path, array):
    save_array(tmp_path / "a.npy", array)
    found = np.load(tmp_path / "a.npy", mmap_mode="r" if array.size else None)
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype and found.shape == array.shape


@pytest.mark.parametrize("bytes_", [900, 2_000_000])
def test_an_array_that_finds_no_room_is_an_error_whatever_its_size(tmp_path, bytes_):
    """`np.save` of a small one writes a part of it and says nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
    try:
        with pytest.raises(OSError, match="nothing of it was kept"):
            with atomic_path(tmp_path / "a.npy") as temporary:
                save_array(temporary, np.zeros(bytes_, np.uint8))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())
