"""A video decoded on several devices, split over its frames, is that of one device."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vldm_jax.models.autoencoder import Autoencoder
from vldm_jax.models.table import fields_of
from vldm_jax.nn.frames import FrameSplit
from vldm_jax.nn.norm import GroupNorm
from vldm_jax.nn.temporal import TemporalConv
from vldm_jax.parallel.frames import over_frames

VIDEO = Autoencoder(base=8, mult=(1, 1), blocks=0, norm_groups=4, temporal_decoder=True)


def random(shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def split_of(axis, frames, devices):
    return FrameSplit(axis=axis, devices=devices, frames=frames)


def on(devices, layer, params, x):
    """Return what a layer with a field `split` makes of x, split over devices."""

    def run(params, x, axis, frames):
        return layer(split=split_of(axis, frames, devices)).apply({"params": params}, x)

    return jax.jit(over_frames(run, jax.devices()[:devices]))(params, x)


@pytest.mark.parametrize("frames", [8, 7, 5, 2])
@pytest.mark.parametrize("devices", [4, 3])
def test_layers_across_frames_are_exact_whatever_divides(frames, devices):
    x = random((2, frames, 3, 2, 8))
    for layer in (functools.partial(GroupNorm, 4), functools.partial(TemporalConv, 4)):
        params = layer().init(jax.random.key(0), x)["params"]
        expected = layer().apply({"params": params}, x)
        np.testing.assert_allclose(on(devices, layer, params, x), expected, atol=2e-6)


@functools.cache
def trained():
    """Random values everywhere, so that temporal layers do something."""
    x = jax.ShapeDtypeStruct((1, 1, 2, 2, 3), jnp.float32)
    shapes = jax.eval_shape(VIDEO.init, jax.random.key(0), x)["params"]
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: jnp.float32(0.2 * rng.normal(size=leaf.shape)), shapes)


def decoder(devices):
    def run(params, z, axis, frames):
        module = VIDEO.clone(split=split_of(axis, frames, devices))
        return module.apply({"params": params}, z, method="decode")

    return jax.jit(over_frames(run, jax.devices()[:devices]))


@pytest.mark.parametrize("frames", [8, 7])
def test_the_decoder_is_exact_on_four_devices(frames):
    z = random((1, frames, 3, 4, 4))
    whole = jax.jit(functools.partial(VIDEO.apply, method="decode"))({"params": trained()}, z)
    made = decoder(4)(trained(), z)
    assert made.shape == whole.shape
    assert float(jnp.abs(made - whole).max() / whole.std()) < 1e-5
    # Frames do see each other: in two halves they are another video.
    halves = [
        VIDEO.apply({"params": trained()}, part, method="decode") for part in (z[:, :4], z[:, 4:])
    ]
    assert float(jnp.abs(jnp.concatenate(halves, 1) - whole).max() / whole.std()) > 1e-2


def test_a_device_holds_its_share_of_frames():
    z = random((1, 8, 3, 4, 4))
    made = decoder(4)(trained(), z)
    assert {shard.data.shape[1] for shard in made.addressable_shards} == {2}


def test_only_neighbours_and_sums_travel():
    """No device gathers the video: halos are permuted, statistics of norms are added up."""
    z = random((1, 8, 3, 4, 4))
    text = decoder(4).lower(trained(), z).compile().as_text()
    assert "collective-permute" in text and "all-reduce" in text
    assert "all-gather" not in text and "all-to-all" not in text


def test_how_it_is_run_is_not_what_it_is():
    assert "split" not in fields_of(VIDEO)
