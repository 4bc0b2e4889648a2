"""What a network denoises: the latents of an autoencoder, or pixels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_stages import FRAMES, HEIGHT, WIDTH, Clips, config_of, leave

from vldm_jax.checkpoint.weights import load_weights, save_weights
from vldm_jax.core.errors import InputError
from vldm_jax.stages.plan import make_plan
from vldm_jax.stages.table import make_stage

PIXELS = {"autoencoder": "pixels", "network": {"out_channels": 3}}


@pytest.fixture
def pixel_image(tmp_path):
    path = tmp_path / "pixels.safetensors"
    leave(config_of("image", model=PIXELS), path)
    return path


def pixel_video(backbone):
    return config_of("video", model=PIXELS | {"backbone": backbone})


def batch_of(stage, frames):
    examples = [Clips(frames)[i] for i in range(4)]
    return {key: jnp.stack([jnp.asarray(e[key]) for e in examples]) for key in stage.needs}


def test_the_loss_is_of_the_pixels_themselves(pixel_image):
    """A network that says 0 has the loss of v = alpha eps - sigma x, quadratic in the pixels x."""
    stage = make_stage(pixel_video(pixel_image))
    assert stage.given() == {} and stage.files.keys() == {"backbone"}
    params = jax.tree.map(jnp.zeros_like, stage.init(jax.random.key(0)))
    batch = batch_of(stage, FRAMES)

    loss = jax.jit(lambda params, case: stage.loss(params, case, jax.random.key(0), 0)[0])

    def both_signs(x):
        levels = (jnp.full_like(batch["video"], round((sign * x + 1) * 127.5)) for sign in (1, -1))
        cases = [{**batch, "video": frames} for frames in levels]
        return sum(float(loss(params, case)) for case in cases)

    small, middle, large = map(both_signs, (0.2, 0.6, 1.0))
    np.testing.assert_allclose((large - small) / (middle - small), 3.0, rtol=1e-4)
    sigma_squared = (large - small) / 2 / (1.0 - 0.04)
    assert 0.0 < sigma_squared < 1.0


def test_samples_of_pixels_are_what_the_network_says_without_a_decoder(pixel_image):
    """A network that finds x0 = 0 whatever it sees makes grey frames."""
    config = pixel_video(pixel_image)
    stage = make_stage(config)
    trained = pixel_image.parent / "temporal.safetensors"
    leave(config, trained)
    params, files = stage.load(str(trained))
    assert files.keys() == {"weights", "backbone"} and params.keys() == {"network"}
    frames = next(
        stage.sampler().in_batches(params, jax.random.key(0), np.arange(2), stage.request(2), 2)
    )
    assert frames.shape == (2, FRAMES, HEIGHT, WIDTH, 3) and frames.dtype == np.uint8


def said_to_be_on(latents, path, out):
    """Copy a file of a network that was trained on other latents, of as many channels."""
    params, meta = load_weights(path)
    save_weights(out, params, meta | {"latents": latents})
    return out


def test_networks_belong_to_their_space(world, video, pixel_image, tmp_path):
    of_latents = said_to_be_on("5f3a", pixel_image, tmp_path / "latents.safetensors")
    with pytest.raises(InputError, match="was trained on latents, and config.model.autoencoder"):
        make_stage(pixel_video(of_latents)).files  # noqa: B018
    of_pixels = said_to_be_on("pixels", world["image"], tmp_path / "of_pixels.safetensors")
    with pytest.raises(InputError, match="was trained on pixels: it goes with no autoencoder"):
        make_stage(video(model={"backbone": of_pixels})).files  # noqa: B018


def test_pixels_have_three_channels():
    config = config_of("image", model={"autoencoder": "pixels"})
    with pytest.raises(InputError, match="out_channels=4: pixels has 3 channels"):
        make_stage(config).files  # noqa: B018


def test_a_residual_is_of_upsamplers_alone():
    config = config_of("image", model=PIXELS | {"autoencoder": "residual/4"})
    with pytest.raises(InputError, match="autoencoder='residual/4' is of upsamplers alone"):
        make_stage(config).files  # noqa: B018


def test_a_run_on_pixels_is_planned_like_any_other(pixel_image):
    plan = make_plan(pixel_video(pixel_image))
    assert plan.trained and all("temporal" in path for path in plan.trained)
