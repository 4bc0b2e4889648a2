import numpy as np
import pytest
from synthetic_videos import scene

from vldm_jax.data.transforms import crop_box, resize_crop


def test_same_size_is_the_same_frame():
    frame = scene(0, 1)[0]
    np.testing.assert_array_equal(resize_crop(frame, *frame.shape[:2]), frame)


@pytest.mark.parametrize("shape", [(72, 128), (71, 127), (480, 640), (101, 33), (64, 300)])
def test_a_flat_colour_stays_and_the_size_is_as_asked(shape):
    frame = np.full((*shape, 3), (10, 128, 250), np.uint8)
    small = resize_crop(frame, 32, 64)
    assert small.shape == (32, 64, 3) and small.dtype == np.uint8
    np.testing.assert_array_equal(small, np.broadcast_to(frame[0, 0], small.shape))


@pytest.mark.parametrize("shape", [(72, 128), (71, 127), (480, 641), (333, 100)])
def test_the_box_is_the_largest_centred_one_of_the_aspect(shape):
    left, top, right, bottom = crop_box(*shape, 32, 64)
    assert np.isclose((right - left) / (bottom - top), 2)
    assert np.isclose(left + right, shape[1]) and np.isclose(top + bottom, shape[0])
    assert np.isclose(right - left, shape[1]) or np.isclose(bottom - top, shape[0])


def test_a_mirrored_frame_gives_the_mirrored_result():
    frame = scene(3, 1, 71, 127)[0]
    mirrored = resize_crop(np.ascontiguousarray(frame[:, ::-1]), 24, 40)
    difference = mirrored[:, ::-1].astype(int) - resize_crop(frame, 24, 40)
    assert np.abs(difference).max() <= 1


def test_what_lies_outside_the_box_is_gone():
    frame = np.full((32, 128, 3), (200, 0, 0), np.uint8)
    frame[:, :30], frame[:, -30:] = (0, 200, 0), (0, 200, 0)  # the box is columns 32 to 96
    small = resize_crop(frame, 16, 32).astype(int)
    assert np.abs(small - (200, 0, 0)).max() <= 3  # the filter reaches a little beyond the box


def test_fine_stripes_become_grey_not_aliases():
    frame = np.zeros((96, 192, 3), np.uint8)
    frame[:, ::2] = 255
    small = resize_crop(frame, 30, 60)  # every 3.2nd column: picking would give broad bars
    inner = small[:, 3:-3].astype(int)
    assert np.abs(inner - 127.5).max() < 20
