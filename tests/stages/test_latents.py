"""Pixels to latents and back: scale, posterior, and frames folded into the batch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vldm_jax.models.autoencoder import Autoencoder
from vldm_jax.models.table import init_params
from vldm_jax.sampling.maker import to_pixels
from vldm_jax.stages.latents import Latents, sample_posterior

SCALE = 0.25
MODULE = Autoencoder(base=8, mult=(1, 1), blocks=1, norm_groups=4, latent_scale=SCALE)
LATENTS = Latents(MODULE)
decode = jax.jit(LATENTS.decode)


@jax.jit
def encode(params, batch):
    frames = "video" if "video" in batch else "image"
    return LATENTS.encode(params, batch, frames, jax.random.key(0))


@functools.partial(jax.jit, static_argnames="method")
def apply(params, x, method):
    return MODULE.apply({"params": params}, x, method=method)


@pytest.fixture(scope="module")
def params():
    image = jax.ShapeDtypeStruct((1, 4, 4, 3), jnp.float32)
    return init_params(MODULE, jax.random.key(0), image)


def frames(shape):
    return jnp.asarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


def test_pixels_are_minus_one_to_one():
    np.testing.assert_array_equal(to_pixels(jnp.array([0, 255], jnp.uint8)), [-1.0, 1.0])


def test_the_posterior_sample_has_its_mean_and_spread():
    mean = jnp.full((50_000,), 2.0)
    sample = sample_posterior(mean, jnp.full_like(mean, np.log(0.25)), jax.random.key(0))
    assert float(sample.mean()) == pytest.approx(2.0, abs=0.01)
    assert float(sample.std()) == pytest.approx(0.5, abs=0.01)


def test_latents_are_the_scaled_code_of_each_frame(params):
    """Without noise, a video's latents are its frames' means, each times the scale."""
    video = frames((2, 3, 4, 4, 3))
    codes = [apply(params, to_pixels(clip), "encode") for clip in video]
    z = encode(params, {"video": video})
    spread = z / SCALE - jnp.stack([mean for mean, _ in codes])  # the posterior's noise, alone
    logvar = codes[0][1]
    assert z.shape == (2, 3, 2, 2, 4)
    assert float(jnp.std(spread)) == pytest.approx(float(jnp.exp(0.5 * logvar).mean()), rel=0.3)


def test_latents_of_a_batch_are_used_where_it_has_them(params):
    mean = jnp.arange(8.0).reshape(1, 2, 2, 2)
    batch = {"latent_mean": mean, "latent_logvar": jnp.full_like(mean, -jnp.inf)}
    z = encode(params, batch)
    np.testing.assert_array_equal(z, SCALE * mean)


def test_no_gradient_reaches_the_autoencoder(params):
    image = frames((2, 4, 4, 3))

    gradient = jax.jit(jax.grad(lambda p: encode(p, {"image": image}).sum()))(params)
    assert all(float(jnp.abs(g).max()) == 0.0 for g in jax.tree.leaves(gradient))


def test_a_video_decodes_to_its_frames_decoded(params):
    z = jax.random.normal(jax.random.key(1), (2, 3, 2, 2, 4))
    video = decode(params, z)
    frame = decode(params, z[1, 2][None])[0]
    assert video.shape == (2, 3, 4, 4, 3)
    np.testing.assert_allclose(video[1, 2], frame, atol=1e-5)
    raw = apply(params, z[0] / SCALE, "decode")
    np.testing.assert_allclose(video[0], raw, atol=1e-5)
