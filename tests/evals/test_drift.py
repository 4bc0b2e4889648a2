import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from vldm_jax.core.errors import InputError
from vldm_jax.evals.drift import NAMES, drift, frame_figures, lab

FPS = 8.0
RNG = np.random.default_rng(0)


def still(t=40, h=24, w=32, seed=0):
    noise = np.random.default_rng(seed).normal(size=(h, w, 3))
    image = gaussian_filter(noise, (1, 1, 0))
    return np.repeat(np.clip(120 + 20 * image / image.std(), 0, 255)[None], t, axis=0)


def as_videos(*videos):
    return np.uint8(np.round(np.stack(videos)))


def test_nothing_drifts_in_a_still_video():
    found = drift(as_videos(still(), still(seed=1)), FPS)
    for part in (found.slope, found.difference, found.size):
        assert tuple(part) == NAMES
        np.testing.assert_allclose(list(part.values()), 0, atol=1e-9)


def test_a_steady_change_has_its_slope_and_its_difference():
    """Grey from 51 to 90: L* of sRGB is known, its slope over 5 s the straight line's."""
    levels = np.arange(51, 91)
    video = np.broadcast_to(levels[:, None, None, None], (40, 8, 8, 3))
    found = drift(as_videos(video), FPS)
    light = lab(np.uint8(levels)[:, None].repeat(3, axis=1))[:, 0]
    assert found.slope["lightness"] == pytest.approx(np.polyfit(np.arange(40) / FPS, light, 1)[0])
    expected = light[-8:].mean() - light[:8].mean()
    assert found.difference["lightness"] == pytest.approx(expected)
    assert found.size["lightness"] == pytest.approx(expected)
    for name in NAMES[1:]:
        assert found.slope[name] == pytest.approx(0, abs=2e-3)


def test_each_figure_sees_its_own_drift():
    time = np.linspace(0, 1, 40)[:, None, None, None]
    base = still()
    centre = base.mean(axis=(1, 2), keepdims=True)
    fading = centre + (base - centre) * (1 - 0.5 * time)
    blurring = np.stack(
        [gaussian_filter(f, (2 * s, 2 * s, 0)) for f, s in zip(base, time.ravel(), strict=True)]
    )
    redder = base + time * np.array([30, -10, 0])
    bluer = base + time * np.array([0, 0, 40])
    names = {"contrast": fading, "sharpness": blurring, "red": redder, "yellow": bluer}
    signs = {"contrast": -1, "sharpness": -1, "red": 1, "yellow": -1}
    for name, video in names.items():
        found = drift(as_videos(video), FPS)
        assert np.sign(found.slope[name]) == np.sign(found.difference[name]) == signs[name]
        assert abs(found.difference[name]) > 2
    assert drift(as_videos(blurring), FPS).difference["lightness"] == pytest.approx(0, abs=0.5)


def test_opposite_drifts_cancel_in_the_mean_but_not_in_size():
    time = np.linspace(-1, 1, 40)[:, None, None, None]
    found = drift(as_videos(still() + 20 * time, still() - 20 * time), FPS)
    assert found.size["lightness"] > 10
    assert abs(found.difference["lightness"]) < 0.05 * found.size["lightness"]


def test_lab_of_colours_that_are_known():
    """White, black, primaries and a dark grey as colour tables give them for sRGB and D65."""
    colours = np.uint8(
        [[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255], [48] * 3]
    )
    expected = [
        [100, 0, 0],
        [0, 0, 0],
        [53.24, 80.09, 67.20],
        [87.73, -86.18, 83.18],
        [32.30, 79.19, -107.86],
        [19.87, 0, 0],
    ]
    np.testing.assert_allclose(lab(colours), expected, atol=0.03)
    np.testing.assert_allclose(lab(colours)[:2, 1:], 0, atol=1e-9)


def test_contrast_and_sharpness_of_a_board_and_any_number_of_frames():
    """Fields of one pixel, black and white: L* is 50 off its mean, its Laplacian +-400."""
    board = np.uint8(255 * (np.indices((10, 10)).sum(axis=0) % 2))
    figures = frame_figures(np.broadcast_to(board[None, :, :, None], (35, 10, 10, 3)))
    assert figures.shape == (35, 5)
    np.testing.assert_allclose(figures[:, [0, 3]], 50, atol=0.01)
    np.testing.assert_allclose(figures[:, 4], 400**2, rtol=1e-3)


def test_too_little_is_refused():
    for shape in ((0, 40, 8, 8, 3), (1, 15, 8, 8, 3), (1, 40, 2, 8, 3)):
        with pytest.raises(InputError, match="two seconds of three pixels"):
            drift(np.zeros(shape, np.uint8), FPS)
