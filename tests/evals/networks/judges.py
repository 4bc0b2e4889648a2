"""The judging networks with their published weights, and what they look at in tests."""

import functools
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vldm_jax.evals.networks.efficientnet import (
    EFFICIENTNET_WEIGHTS,
    EfficientNetLite0,
    load_efficientnet_weights,
)
from vldm_jax.evals.networks.i3d import I3D
from vldm_jax.evals.networks.i3d_weights import I3D_WEIGHTS, load_i3d_weights


def skip_if_absent(packaged):
    if importlib.util.find_spec(packaged.module) is None:
        pytest.skip(f"{packaged.package}, which carries {packaged.name}'s weights, is absent")


@functools.cache
def i3d(dtype=jnp.float32):
    skip_if_absent(I3D_WEIGHTS)
    return _of(I3D(dtype), load_i3d_weights())


@functools.cache
def efficientnet(dtype=jnp.float32):
    skip_if_absent(EFFICIENTNET_WEIGHTS)
    return _of(EfficientNetLite0(dtype), load_efficientnet_weights())


def _of(module, params):
    run = jax.jit(lambda params, x: module.apply({"params": params}, x))
    return functools.partial(run, jax.device_put(params))


def clips(b, t, h, w):
    """Coarse noise in [-1, 1]: differs from frame to frame and from place to place."""
    coarse = np.random.default_rng(0).uniform(-1, 1, (b, -(-t // 2), -(-h // 8), -(-w // 8), 3))
    x = coarse.repeat(2, axis=1).repeat(8, axis=2).repeat(8, axis=3)
    return np.float32(x[:, :t, :h, :w])


def pixels():
    """Two frames of bytes, coarse and fine."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (28, 28, 3), np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    return np.stack([coarse, rng.integers(0, 256, (224, 224, 3), np.uint8)])
