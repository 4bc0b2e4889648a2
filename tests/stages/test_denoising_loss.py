"""The denoising loss: what it samples, weighs and reports."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vldm_jax.diffusion.losses import Diffusion
from vldm_jax.diffusion.schedules import ScaledLinearSchedule
from vldm_jax.stages.denoising_loss import denoising_loss, loss_by_quartile
from vldm_jax.stages.temporal import summarise

SCHEDULE = ScaledLinearSchedule()
IMAGE, VIDEO = (4096, 2, 2, 1), (4096, 3, 2, 2, 1)
VALUE = 0.2  # of every latent


def spied(shape=VIDEO, target="epsilon", **fields):
    """Return everything that the network is called with, from a batch of known latents."""
    seen = {}

    def spy(params, z, time, cond, key):
        seen.update(z=z, time=time, cond=cond, key=key)
        return jnp.zeros_like(z)

    diffusion = Diffusion(schedule=SCHEDULE, target=target, **fields)
    cond = {"labels": jnp.ones((shape[0], 2))}
    z0 = jnp.full(shape, VALUE)
    loss, metrics = denoising_loss(spy, diffusion, {}, z0, cond, jax.random.key(0))
    return seen, float(loss), metrics


def test_a_clip_has_one_time_and_independent_noise():
    seen, *_ = spied()
    time, z = np.asarray(seen["time"]), np.asarray(seen["z"])
    assert time.shape == (4096,)
    assert time.min() >= 0 and time.max() <= 999
    counts = np.histogram(time, bins=10, range=(0, 1000))[0]
    assert np.all(np.abs(counts - 409.6) < 5 * np.sqrt(409.6))
    alpha, sigma = SCHEDULE.alphas()[time], SCHEDULE.sigmas()[time]
    axes = (..., *[None] * 4)
    noise = (z - alpha[axes] * VALUE) / sigma[axes]
    flat = noise.reshape(4096, -1)
    assert np.abs(flat.mean()) < 0.02 and np.abs(flat.std() - 1) < 0.02
    correlation = np.corrcoef(flat.T)
    assert np.abs(correlation - np.eye(len(correlation))).max() < 0.08


def test_what_the_network_is_told_reaches_it_as_it_is():
    seen, *_ = spied()
    np.testing.assert_array_equal(seen["cond"]["labels"], 1.0)


@pytest.mark.parametrize(
    ("target", "expected"),
    # A network that says 0 pays the target's mean square: eps 1; x0 0.04; v alpha^2 + 0.04 sigma^2.
    [
        ("epsilon", 1.0),
        ("x0", 0.04),
        ("v", float(np.mean(SCHEDULE.alphas() ** 2 + 0.04 * SCHEDULE.sigmas() ** 2))),
    ],
)
@pytest.mark.parametrize("shape", [IMAGE, VIDEO], ids=["image", "video"])
def test_the_loss_is_the_targets_mean_square(shape, target, expected):
    _, loss, metrics = spied(shape, target=target)
    assert loss == pytest.approx(expected, rel=0.05)
    parts = [metrics[f"loss_time_q{i}"] for i in range(1, 5)]
    assert sum(float(part.total) for part in parts) / 4096 == pytest.approx(loss, rel=1e-5)


def test_quartiles_are_by_time():
    losses, time = jnp.array([1.0, 2.0, 4.0, 8.0]), jnp.array([0, 249, 250, 999])
    parts = loss_by_quartile(losses, time, 1000)
    values = [
        (float(parts[f"loss_time_q{i}"].total), float(parts[f"loss_time_q{i}"].count))
        for i in range(1, 5)
    ]
    assert values == [(3.0, 2.0), (4.0, 1.0), (0.0, 0.0), (8.0, 1.0)]


def test_the_signal_to_noise_weight_changes_the_loss_and_not_the_metrics():
    _, weighted, weighted_metrics = spied(min_snr_gamma=1.0)
    _, plain, metrics = spied()
    assert weighted < 0.95 * plain
    assert float(weighted_metrics["loss_time_q1"].total) == float(metrics["loss_time_q1"].total)


def test_mixes_are_summed_up_over_layers_and_frames():
    summary = summarise({"a": jnp.array([0.0, 0.5]), "b": jnp.float32(1.0)})
    assert {name: float(value) for name, value in summary.items()} == {
        "mix_mean": 0.5,
        "mix_min": 0.0,
        "mix_max": 1.0,
    }


def test_layers_without_mixes_have_no_such_metrics():
    assert summarise({}) == {}
