"""A video U-Net small enough to compile in seconds, with every kind of layer in it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from vldm_jax.core import paths
from vldm_jax.core.conditioning import Conditioning
from vldm_jax.models.unet import UNet
from vldm_jax.models.video_unet import VideoUNet

BATCH, FRAMES = 2, 3
FIELDS = {
    "channels": (8, 8),
    "attention": (False, True),
    "layers_per_level": 1,
    "heads": 2,
    "context_dim": 4,
    "norm_groups": 4,
}
IMAGE, VIDEO = UNet(**FIELDS), VideoUNet(**FIELDS)
# Odd, so that the up path has to crop.
Z = jax.random.normal(jax.random.key(0), (BATCH, FRAMES, 3, 5, 4))
TIME = jnp.array([10.0, 700.0])
CONTEXT = jax.random.normal(jax.random.key(1), (BATCH, 3, 4))
COND = Conditioning(context=CONTEXT)
# XLA's default, and what conftest.py sets for the whole suite.
OPTIMISED, UNOPTIMISED = ({"xla_backend_optimization_level": level} for level in (3, 0))
unoptimised = functools.partial(jax.jit, compiler_options=UNOPTIMISED)


def fold(x):
    """Lay the frames of all videos in one batch of images."""
    return x.reshape(-1, *x.shape[2:])


def per_frame(x):
    return jnp.repeat(x, FRAMES, axis=0)


def is_temporal(path):
    return "temporal" in path


@functools.cache
def fresh_params():
    """The video U-Net at step 0, except that spatial layers and mixes are random everywhere.

    Otherwise the zero-initialised ends of the image model would hide what the layers before do, and
    a mix of exactly 1/2 that the blend must be exact for any.
    """
    init = functools.partial(VIDEO.init, train=False)
    flat = paths.flatten(jax.jit(init)(jax.random.key(2), Z, TIME, COND)["params"])
    kept = {k for k in flat if is_temporal(k) and not k.endswith("logit")}
    return paths.unflatten({k: v if k in kept else _moved(k, v) for k, v in flat.items()})


@functools.cache
def trained_params():
    """Every parameter random: no zero hides a path."""
    flat = paths.flatten(fresh_params())
    return paths.unflatten({k: _moved(k, v) for k, v in flat.items()})


def _moved(path, leaf):
    rng = np.random.default_rng(len(path))
    return leaf + 0.2 * jnp.asarray(rng.normal(size=leaf.shape), jnp.float32)


def spatial(params):
    flat = paths.flatten(params)
    return paths.unflatten({k: v for k, v in flat.items() if not is_temporal(k)})


@unoptimised
def video(params, z, time, cond):
    return VIDEO.apply({"params": params}, z, time, cond, train=False)


@unoptimised
def image(params, z, time, cond):
    return IMAGE.apply({"params": params}, z, time, cond, train=False)


@unoptimised
def images_of_videos(params, z, time, cond):
    """The image U-Net on (b t) h w c, where the frames of a video share its time and text."""
    return IMAGE.apply(
        {"params": params},
        z,
        time,
        cond,
        frames=FRAMES,
        temporal=None,
        train=False,
        method="denoise",
    )
