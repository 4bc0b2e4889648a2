import numpy as np
import pytest

from vldm_jax.evals.motion import measure_motion

RNG = np.random.default_rng(0)


def smooth_noise(h, w):
    """Low-pass noise: a texture in which a displacement is unambiguous."""
    spectrum = np.fft.fft2(RNG.normal(size=(h, w)))
    radius = np.hypot(np.fft.fftfreq(h)[:, None], np.fft.fftfreq(w)[None, :])
    image = np.fft.ifft2(spectrum * (radius < 0.15)).real
    image = (image - image.min()) / np.ptp(image)
    return np.repeat((255 * image).astype(np.uint8)[..., None], 3, axis=-1)


def moving(step, frames=4):
    """A texture translated by `step` = (dy, dx) pixels a frame, wrapped around."""
    image = smooth_noise(48, 64)
    return np.stack([np.roll(image, (t * step[0], t * step[1]), (0, 1)) for t in range(frames)])[
        None
    ]


def test_translation_is_motion_without_flicker():
    figures = measure_motion(moving((3, -4))[:, :, 8:40, 8:56])
    assert figures.motion == pytest.approx(5.0, abs=0.6)
    assert figures.flicker < 0.15 * figures.change


def test_frozen_clip_has_neither():
    figures = measure_motion(moving((0, 0)))
    assert (figures.change, figures.flicker, figures.motion) == (0.0, 0.0, 0.0)


def test_independent_frames_keep_most_of_their_change():
    video = np.stack([smooth_noise(48, 64) for _ in range(4)])[None]
    figures = measure_motion(video)
    assert figures.flicker > 0.3 * figures.change
    assert figures.flicker > 4 * measure_motion(moving((2, 1))).flicker


def test_one_frame_is_refused():
    with pytest.raises(ValueError, match="two frames"):
        measure_motion(np.zeros((1, 1, 16, 16, 3), np.uint8))
