"""A video U-Net small enough to compile in seconds, with every kind of layer in it.

And what the comparisons with diffusers share: random weights for a torch module, and its weights
as our tree.
"""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
from numpy_init import numpy_init

from vldm_jax.core import paths
from vldm_jax.models.unet import UNet
from vldm_jax.nn.temporal import TemporalSpec

BATCH, FRAMES = 2, 3
FIELDS = {
    "channels": (8, 8),
    "attention": (False, True),
    "layers_per_level": 1,
    "heads": 2,
    "context_dim": 4,
    "norm_groups": 4,
}
IMAGE, VIDEO = UNet(**FIELDS), UNet(**FIELDS, temporal=TemporalSpec())
# Odd, so that the up path has to crop.
Z = jax.random.normal(jax.random.key(0), (BATCH, FRAMES, 3, 5, 4))
TIME = jnp.array([10.0, 700.0])
CONTEXT = jax.random.normal(jax.random.key(1), (BATCH, 3, 4))
COND = {"context": CONTEXT}
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
    flat = paths.flatten(numpy_init(VIDEO, Z, TIME, COND, train=False))
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
        train=False,
        method="denoise",
    )


def randomise(module, seed):
    """Give every parameter of a torch module a random value, zero-initialised ones included.

    What enters a norm stays small, so that the norm's epsilon shows.
    """
    import torch

    rng = np.random.default_rng(seed)
    quiet = ("conv_in", "conv1", "conv2", "time_emb_proj", "proj_out")
    for name, p in module.named_parameters():
        noise = rng.normal(size=tuple(p.shape))
        if p.ndim > 1:
            noise /= np.sqrt(np.prod(p.shape[1:]))
        elif name.endswith("bias") or "norm" in name:
            noise *= 0.1
        if any(part in name for part in quiet):
            noise *= 0.03
        if "norm" in name and name.endswith("weight"):
            noise += 1.0
        p.data = torch.tensor(noise, dtype=torch.float32)
    return module.eval()


def from_torch(state, renames=()):
    """Return a torch state dict as our tree: kernels (*window, in, out), list indices after `_`."""
    flat = {}
    for name, value in state.items():
        if name.endswith("pos_embed.pe"):
            continue
        for old, new in renames:
            name = re.sub(old, new, name)
        leaf = jnp.asarray(value.numpy())
        if leaf.ndim == 5:
            leaf = leaf[..., 0, 0]
        if leaf.ndim > 1:
            leaf = jnp.moveaxis(leaf, (0, 1), (-1, -2))
        path = re.sub(r"\.(\d+)(?=\.)", r"_\1", name).replace(".", "/")
        path = path.replace("/weight", "/kernel" if leaf.ndim > 1 else "/scale")
        flat[path] = leaf.reshape(()) if path.endswith("logit") else leaf
    return paths.unflatten(flat)


def largest_difference(ours, theirs):
    """Return max |ours - theirs| in standard deviations of theirs."""
    return float(np.abs(np.asarray(ours) - theirs).max() / theirs.std())
