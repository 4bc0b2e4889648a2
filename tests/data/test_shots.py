import numpy as np
import pytest
from synthetic_videos import scene

from vldm_jax.data.shots import find_cuts, find_shots
from vldm_jax.data.transforms import resize_crop


def small(seed, count, speed=1):
    """Thumbnails of a scene that moves `speed` of 128 columns a frame."""
    return np.stack([resize_crop(frame, 16, 28) for frame in scene(seed, count, speed=speed)])


def test_cuts_between_moving_scenes_are_found_exactly():
    lengths = (20, 7, 33, 12, 5, 40)
    video = np.concatenate([small(seed, length) for seed, length in enumerate(lengths)])
    np.testing.assert_array_equal(find_cuts(video), np.cumsum(lengths)[:-1])
    shots = find_shots(video)
    np.testing.assert_array_equal(shots[1:, 0], shots[:-1, 1])
    assert (shots[0, 0], shots[-1, 1]) == (0, len(video))


@pytest.mark.parametrize("speed", [0, 1, 3, 5])
def test_motion_is_no_cut(speed):
    assert len(find_cuts(small(0, 60, speed))) == 0


@pytest.mark.parametrize("length", [1, 2])
def test_a_flash_is_no_cut(length):
    video = small(0, 40)
    video[20 : 20 + length] = 255
    assert len(find_cuts(video)) == 0


def test_a_slow_fade_is_no_cut():
    fade = np.linspace(1, 0, 50)[:, None, None, None]
    assert len(find_cuts((small(0, 50) * fade).astype(np.uint8))) == 0


def test_noise_over_a_cut_does_not_hide_it():
    noise = np.random.default_rng(0).normal(0, 6, (40, 16, 28, 3))
    video = np.concatenate([small(0, 20), small(1, 20)])
    noisy = np.clip(video + noise, 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(find_cuts(noisy), [20])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_few_frames_are_one_shot(count):
    np.testing.assert_array_equal(find_shots(small(0, count)), [[0, count]])


@pytest.mark.parametrize("at", [1, 2, 18, 19])
def test_a_cut_near_the_ends_is_found(at):
    video = np.concatenate([small(0, at, 0), small(1, 20 - at, 0)])
    np.testing.assert_array_equal(find_cuts(video), [at])
