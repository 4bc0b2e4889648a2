"""The temporal decoder's loss against plain automatic differentiation of each player's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vldm_jax.core.rng import stream
from vldm_jax.stages.decoder_loss import DecoderLoss

KEY, STEP = jax.random.key(5), jnp.array(7)

# Small linear "networks"; the decoder's last layer mixes frames, and so does the discriminator.


def encode(p, x):
    z = jnp.einsum("bthwc,cd->bthwd", x, p["kernel"])
    return z, 0.1 * z - 1.0


def decode_features(p, z_raw):
    return jnp.tanh(jnp.einsum("bthwc,cd->bthwd", z_raw, p["decoder"]["conv_in"]))


def project(p, features):
    frames = jnp.einsum("bthwc,cd->bthwd", features, p["decoder"]["conv_out"])
    return jnp.einsum("bthwc,ts->bshwc", frames, p["decoder"]["last"])


def perceptual(p, x, y):
    return jnp.sum(jnp.square(jnp.einsum("bhwc,c->bhw", x - y, p["head"])), axis=(1, 2))


def discriminate(p, x):
    return 8 * jnp.tanh(jnp.einsum("bthwc,tcd->bhwd", x, p["kernel"]))


@pytest.fixture
def params():
    rng = np.random.default_rng(0)

    def random(*shape):
        return jnp.float32(0.3 * rng.normal(size=shape))

    decoder = {"conv_in": random(4, 5), "conv_out": random(5, 3), "last": random(3, 3)}
    return {
        "autoencoder": {"decoder": decoder},
        "encoder": {"kernel": random(3, 4)},
        "discriminator": {"kernel": random(3, 3, 1)},
        "perceptual": {"head": jnp.array([0.5, 1.0, 2.0])},
        "logvar": jnp.array(0.3),
    }


@pytest.fixture
def batch():
    video = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 6, 3), dtype=np.uint8)
    return {"video": jnp.asarray(video)}


def loss(**weights):
    return DecoderLoss(
        encode=encode, decode_features=decode_features, project=project, perceptual=perceptual,
        discriminate=discriminate, last_kernel="decoder/last", perceptual_weight=0.7,
        disc_start=0, **weights,
    )  # fmt: skip


def test_gradient_is_each_players_own_and_the_encoder_has_none(params, batch):
    got = jax.jit(jax.grad(lambda p: loss(disc_weight=0.5)(p, batch, KEY, STEP)[0]))(params)
    x = batch["video"].astype(jnp.float32) / 127.5 - 1
    mean, logvar = encode(params["encoder"], x)
    noise = jax.random.normal(stream(KEY, "posterior"), mean.shape)
    z_raw = mean + jnp.exp(logvar / 2) * noise
    judge, head = params["discriminator"], params["perceptual"]

    def nll(auto, s):
        xh = project(auto, decode_features(auto, z_raw))
        frames = [(x[b, t], xh[b, t]) for b in range(2) for t in range(3)]
        each = [
            jnp.sum((jnp.abs(a - b) + 0.7 * perceptual(head, a[None], b[None])[0]) / jnp.exp(s) + s)
            for a, b in frames
        ]
        return sum(each) / 6  # the mean over frames of sums over their values

    def adversarial(auto):
        return -jnp.mean(discriminate(judge, project(auto, decode_features(auto, z_raw))))

    auto, s = params["autoencoder"], params["logvar"]
    last = [
        jnp.linalg.norm(jax.grad(f)(auto)["decoder"]["last"])
        for f in (lambda a: nll(a, s), adversarial)
    ]
    weight = 0.5 * last[0] / (last[1] + 1e-4)
    expected = jax.grad(lambda a: nll(a, s) + weight * adversarial(a))(auto)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-4)  # noqa: E731
    jax.tree.map(close, got["autoencoder"], expected)
    close(got["logvar"], jax.grad(nll, argnums=1)(auto, s))
    xh = project(auto, decode_features(auto, z_raw))

    def hinge(judge):
        real, fake = discriminate(judge, x), discriminate(judge, xh)
        return 0.5 * (jnp.maximum(1 - real, 0).mean() + jnp.maximum(1 + fake, 0).mean())

    close(got["discriminator"]["kernel"], jax.grad(hinge)(judge)["kernel"])
    assert float(jnp.abs(got["discriminator"]["kernel"]).max()) > 0
    np.testing.assert_array_equal(got["encoder"]["kernel"], 0)


def test_reconstruction_does_not_grow_with_the_clip(params, batch):
    """Twice the frames, each twice: the same loss of the frames, as images have it."""

    def value(frames):
        own = {**params, "autoencoder": {"decoder": dict(params["autoencoder"]["decoder"])}}
        own["autoencoder"]["decoder"]["last"] = jnp.eye(frames)
        still = jax.tree.map(jnp.asarray, {"video": batch["video"][:, [0] * frames]})
        own["encoder"] = {"kernel": params["encoder"]["kernel"]}
        return float(loss(disc_weight=0.0)(own, still, KEY, STEP)[0])

    assert value(4) == pytest.approx(value(2), rel=0.1)
