"""The image and video losses: what they sample, drop, scale and leave untouched."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vldm_jax.diffusion.schedules import ScaledLinearSchedule
from vldm_jax.training.objectives import base, denoising
from vldm_jax.training.objectives.image import ImageObjective
from vldm_jax.training.objectives.video import VideoObjective, summarise_mixes

SCHEDULE = ScaledLinearSchedule()
PARAMS = {"network": {"gain": jnp.float32(0.5)}, "autoencoder": {"scale": jnp.float32(3.0)}}
STEP = jnp.zeros((), jnp.int32)


def encode(params, x):
    assert x.ndim == 4, "the encoder sees images"
    return x[..., :2] * params["scale"], jnp.full((*x.shape[:-1], 2), -jnp.inf)


def predict(params, z, time, cond):
    return params["gain"] * z


def make(kind=VideoObjective, target="epsilon", **fields):
    given = {
        "encode": encode,
        "predict": predict,
        "diffusion": denoising.Diffusion(schedule=SCHEDULE, target=target),
        "latent_scale": 0.1,
    }
    return kind(**(given | fields))


def frames(shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def spied(objective_kind=VideoObjective, batch_size=4096, target="epsilon", **fields):
    """Return everything that the network is called with, from a batch of known latents."""
    seen = {}

    def spy(params, z, time, cond):
        seen.update(z=z, time=time, cond=cond)
        return jnp.zeros_like(z)

    shape = (batch_size, 3, 2, 2, 1) if objective_kind is VideoObjective else (batch_size, 2, 2, 1)
    latents = jnp.ones(shape) * 2.0
    batch = {"latent_mean": latents, "latent_logvar": jnp.full(shape, -jnp.inf)}
    batch |= fields.pop("batch", {})
    objective = make(objective_kind, target, encode=None, predict=spy, **fields)
    loss, metrics = objective.loss(PARAMS, batch, jax.random.key(0), STEP)
    return seen, float(loss), metrics


def test_pixels_are_minus_one_to_one():
    pixels = base.to_pixels(jnp.array([0, 255], jnp.uint8))
    np.testing.assert_array_equal(pixels, [-1.0, 1.0])


def test_the_posterior_sample_has_its_mean_and_spread():
    mean = jnp.full((50_000,), 2.0)
    sample = base.sample_posterior(mean, jnp.full_like(mean, np.log(0.25)), jax.random.key(0))
    assert float(sample.mean()) == pytest.approx(2.0, abs=0.01)
    assert float(sample.std()) == pytest.approx(0.5, abs=0.01)


def test_latents_are_the_scaled_code_of_each_frame():
    video = frames((2, 3, 4, 4, 3))
    z_raw = base.encode_frames(encode, PARAMS, {"video": video}, "video", jax.random.key(0))
    expected = (np.asarray(video, np.float32)[..., :2] / 127.5 - 1) * 3.0
    np.testing.assert_allclose(z_raw, expected, rtol=1e-5, atol=1e-5)
    image = frames((2, 4, 4, 3))
    assert (
        base.encode_frames(encode, PARAMS, {"image": image}, "image", jax.random.key(0)).ndim == 4
    )


def test_a_clip_has_one_time_and_independent_noise():
    seen, *_ = spied()
    time, z = np.asarray(seen["time"]), np.asarray(seen["z"])
    assert time.shape == (4096,)
    assert time.min() >= 0 and time.max() <= 999
    counts = np.histogram(time, bins=10, range=(0, 1000))[0]
    assert np.all(np.abs(counts - 409.6) < 5 * np.sqrt(409.6))
    alpha, sigma = SCHEDULE.alphas()[time], SCHEDULE.sigmas()[time]
    axes = (..., *[None] * 4)
    noise = (z - alpha[axes] * 0.1 * 2.0) / sigma[axes]
    flat = noise.reshape(4096, -1)
    assert np.abs(flat.mean()) < 0.02 and np.abs(flat.std() - 1) < 0.02
    correlation = np.corrcoef(flat.T)
    assert np.abs(correlation - np.eye(len(correlation))).max() < 0.08


@pytest.mark.parametrize(
    ("target", "expected"),
    # A network that says 0 pays the target's mean square: eps 1; x0 0.04; v alpha^2 + 0.04 sigma^2.
    [
        ("epsilon", 1.0),
        ("x0", 0.04),
        ("v", float(np.mean(SCHEDULE.alphas() ** 2 + 0.04 * SCHEDULE.sigmas() ** 2))),
    ],
)
@pytest.mark.parametrize("kind", [ImageObjective, VideoObjective])
def test_the_loss_is_the_targets_mean_square(kind, target, expected):
    _, loss, metrics = spied(kind, target=target)
    assert loss == pytest.approx(expected, rel=0.05)
    parts = [metrics[f"loss_time_q{i}"] for i in range(1, 5)]
    assert sum(float(part.total) for part in parts) / 4096 == pytest.approx(loss, rel=1e-5)


def test_quartiles_are_by_time():
    losses, time = jnp.array([1.0, 2.0, 4.0, 8.0]), jnp.array([0, 249, 250, 999])
    parts = denoising.loss_by_quartile(losses, time, 1000)
    values = [
        (float(parts[f"loss_time_q{i}"].total), float(parts[f"loss_time_q{i}"].count))
        for i in range(1, 5)
    ]
    assert values == [(3.0, 2.0), (4.0, 1.0), (0.0, 0.0), (8.0, 1.0)]


def test_the_signal_to_noise_weight_changes_the_loss_and_not_the_metrics():
    diffusion = denoising.Diffusion(schedule=SCHEDULE, target="epsilon", min_snr_gamma=1.0)
    _, weighted, weighted_metrics = spied(diffusion=diffusion)
    _, plain, metrics = spied()
    assert weighted < 0.95 * plain
    assert float(weighted_metrics["loss_time_q1"].total) == float(metrics["loss_time_q1"].total)


@pytest.mark.parametrize("kind", [ImageObjective, VideoObjective])
def test_labels_and_text_are_dropped_together(kind):
    labels = jnp.stack([jnp.arange(4096.0), jnp.ones(4096)], axis=1)
    context, null = jnp.ones((4096, 3, 2)), np.full((3, 2), -1.0, np.float32)
    seen, *_ = spied(
        kind,
        batch={"labels": labels, "context": context},
        use_labels=True,
        null_context=null,
        p_drop=0.25,
    )
    dropped = np.isnan(np.asarray(seen["cond"].labels))
    assert np.all(dropped[:, 0] == dropped[:, 1])
    assert dropped[:, 0].mean() == pytest.approx(0.25, abs=0.03)
    np.testing.assert_array_equal(
        np.asarray(seen["cond"].labels)[~dropped], np.asarray(labels)[~dropped]
    )
    without_text = np.all(np.asarray(seen["cond"].context) == -1.0, axis=(1, 2))
    np.testing.assert_array_equal(without_text, dropped[:, 0])
    assert np.all(np.asarray(seen["cond"].context)[~without_text] == 1.0)


def test_needs_are_what_is_read():
    assert make(ImageObjective).needs == ("image",)
    assert make(VideoObjective, use_labels=True).needs == ("video", "labels")
    cached = make(VideoObjective, encode=None, null_context=np.zeros((2, 3), np.float32))
    assert cached.needs == ("latent_mean", "latent_logvar", "context")


def test_no_gradient_reaches_the_autoencoder():
    batch = {"video": frames((2, 3, 4, 4, 3))}
    objective = make(VideoObjective)
    grads = jax.grad(lambda p: objective.loss(p, batch, jax.random.key(0), STEP)[0])(PARAMS)
    assert float(grads["autoencoder"]["scale"]) == 0.0
    assert float(grads["network"]["gain"]) != 0.0


def test_mixes_are_summed_up_over_layers_and_frames():
    summary = summarise_mixes({"a": jnp.array([0.0, 0.5]), "b": jnp.float32(1.0)})
    assert {name: float(value) for name, value in summary.items()} == {
        "mix_mean": 0.5,
        "mix_min": 0.0,
        "mix_max": 1.0,
    }
    objective = make(VideoObjective, mixes=lambda p: {"only": nn.sigmoid(0.0 * p["gain"])})
    batch = {"video": frames((2, 3, 4, 4, 3))}
    _, metrics = objective.loss(PARAMS, batch, jax.random.key(0), STEP)
    assert float(metrics["mix_min"]) == 0.5


@pytest.mark.parametrize("kind", [ImageObjective, VideoObjective])
def test_objectives_keep_the_protocol(kind):
    assert isinstance(make(kind), base.Objective)
