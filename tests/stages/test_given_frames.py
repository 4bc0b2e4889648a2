"""Which frames clips are given in training: drawing, noise, and the stage that does so."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_stages import FRAMES, Clips, leave

from vldm_jax.conditions.context_frames import context_of
from vldm_jax.core.errors import InputError
from vldm_jax.core.paths import flatten
from vldm_jax.core.rng import stream
from vldm_jax.diffusion.process import alpha_sigma
from vldm_jax.diffusion.schedules import ScaledLinearSchedule
from vldm_jax.sampling.noise import sample_keys
from vldm_jax.stages.given_frames import given_frames
from vldm_jax.stages.table import make_stage
from vldm_jax.training.precision import cast_frozen

PREDICTION = ((1.0, ()), (2.0, (0,)), (1.0, (0, 1)))
SCHEDULE = ScaledLinearSchedule(beta_start=0.0015, beta_end=0.0195, num_steps=1000)
CONTEXT, NOISE = {"kind": "context_frames", "channels": 4}, {"kind": "context_noise"}


def test_patterns_come_as_often_as_their_weights():
    drawn = given_frames(PREDICTION, 0, 4, 1000).draw(jax.random.key(0), 4000)
    shares = [np.mean(np.asarray(drawn).sum(1) == s) for s in range(3)]
    np.testing.assert_allclose(shares, (0.25, 0.5, 0.25), atol=0.03)
    assert not drawn[:, 2:].any()


def test_without_noise_the_given_frames_are_the_clips_own():
    z = jax.random.normal(jax.random.key(1), (8, 4, 2, 2, 3))
    cond = given_frames(PREDICTION, 0, 4, 1000).told(z, SCHEDULE, jax.random.key(2))
    assert cond.keys() == {"context_frames"}
    mask = cond["context_frames"][..., 3:]
    np.testing.assert_array_equal(cond["context_frames"][..., :3], jnp.where(mask == 1, z, 0))


def test_noise_is_of_the_time_that_is_told():
    """Over many pixels the latents have the mean and deviation of the process at that time."""
    z = jnp.full((6, 2, 64, 64, 4), 3.0)
    cond = given_frames(((1.0, (0,)),), 250, 2, 1000).told(z, SCHEDULE, jax.random.key(0))
    time, seen = cond["context_noise"], cond["context_frames"][:, 0, ..., :4]
    assert 0 <= time.min() and 100 < time.max() <= 250
    alpha, sigma = alpha_sigma(SCHEDULE, time.astype(jnp.int32))
    np.testing.assert_allclose(seen.mean((1, 2, 3)), 3 * alpha, atol=0.05)
    np.testing.assert_allclose(seen.std((1, 2, 3)), sigma, atol=0.02)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ((1.0, (0, 1, 2, 3)), "not all"),
        ((1.0, (4,)), "some of the frames 0 to 3"),
        ((-1.0, (0,)), "a positive number"),
        ((1.0, 0), "must be .weight, frames."),
        ("first", "must be .weight, frames."),
    ],
)
def test_patterns_that_cannot_be_are_named(pattern, message):
    with pytest.raises(InputError, match=message):
        given_frames((pattern,), 0, 4, 1000)
    with pytest.raises(InputError, match="given_noise=1000 must be a time"):
        given_frames(PREDICTION, 1000, 4, 1000)


# The stage.


@pytest.fixture
def prediction(video):
    """Make a config of the video stage that is given frames."""

    def make(given=((1.0, ()), (1.0, (0,))), noise=0, conditions=(CONTEXT,), **model):
        config = video(model=model)
        with config.unlocked():
            config.model.network.more_conditions = conditions
            config.objective.given, config.objective.given_noise = given, noise
        return config

    return make


def batch_of(stage):
    examples = [Clips(FRAMES)[i] for i in range(4)]
    return {key: jnp.stack([jnp.asarray(e[key]) for e in examples]) for key in stage.needs}


def test_it_starts_from_layers_of_before_with_their_loss(prediction, video, world, capsys):
    older = make_stage(video(model={"init": world["video"]}))
    stage = make_stage(prediction(init=world["video"]))
    params = [one.init(jax.random.key(0)) | one.given() for one in (older, stage)]
    said = capsys.readouterr().out
    assert "conv1_maps" in said and "fresh, not in" in said
    batch, key = batch_of(stage), jax.random.key(5)
    losses = [
        float(one.loss(p, batch, key, 0)[0]) for one, p in zip((older, stage), params, strict=True)
    ]
    assert losses[0] == losses[1]
    leave(prediction(), stage.files["init"].file.parent / "unused.safetensors")


def test_its_gradient_reaches_what_sees_the_given_frames(prediction):
    stage = make_stage(prediction(noise=250, conditions=(CONTEXT, NOISE)))
    params = cast_frozen(stage.init(jax.random.key(0)), "float32")
    noisy = jax.tree.map(lambda leaf: leaf + 0.1, params)
    batch, given = batch_of(stage), cast_frozen(stage.given(), "float32")

    def loss(network):
        return stage.loss({"network": network, **given}, batch, jax.random.key(0), 0)[0]

    gradient = flatten(jax.grad(loss)(noisy["network"]))
    seen = [path for path in gradient if "maps" in path or "context_noise" in path]
    assert seen and all(jnp.abs(gradient[path]).max() > 0 for path in seen)


def test_it_samples_without_being_given_anything(prediction, tmp_path):
    config = prediction()
    leave(config, tmp_path / "trained.safetensors")
    stage = make_stage(config)
    params, _ = stage.load(str(tmp_path / "trained.safetensors"))
    assert "context_frames" not in stage.needs and "context_frames" not in stage.request(1)
    frames = stage.sampler()(params, jax.random.key(0), jnp.arange(1), stage.request(1))
    assert frames.shape[1] == FRAMES


@pytest.mark.parametrize(
    "change",
    [{"given": ()}, {"conditions": ()}, {"noise": 10}, {"conditions": (CONTEXT, NOISE)}],
)
def test_what_is_given_and_what_the_network_takes_must_fit(prediction, change):
    with pytest.raises(InputError, match="config.objective.given=.* but the network takes"):
        make_stage(prediction(**change))


# What samples are given.


@pytest.fixture
def trained(prediction, tmp_path):
    """Make a stage, whose layers see what they are given, with its parameters."""

    def make(**sections):
        config = prediction(**sections.pop("training", {}))
        with config.unlocked():
            config.sampling.update(sections)
        leave(config, tmp_path / "trained.safetensors")
        stage = make_stage(config)
        params, _ = stage.load(str(tmp_path / "trained.safetensors"))
        noisy = jax.tree.map(lambda leaf: leaf + 0.05, params["network"])
        return stage, params | {"network": noisy}

    return make


KEY, INDEX = jax.random.key(0), jnp.arange(2)


def latents(stage, params, cond):
    return stage.sampler().latents(params, KEY, INDEX, jax.tree.map(jnp.asarray, cond))


def test_given_frames_come_out_unchanged_and_change_the_others(trained):
    stage, params = trained()
    z = jax.random.normal(jax.random.key(7), (2, *stage.shape))
    first = jnp.broadcast_to(jnp.arange(FRAMES) == 0, (2, FRAMES))
    request = stage.request(2)
    given = latents(stage, params, request | {"context_frames": context_of(z, first)})
    free = latents(stage, params, request)
    np.testing.assert_array_equal(given[:, 0], z[:, 0])
    assert jnp.abs(given[:, 1:] - free[:, 1:]).max() > 1e-3


def test_no_frame_given_is_nothing_told_bit_for_bit(trained):
    """Also with context guidance: there is no direction to go away from."""
    stage, params = trained(context_guidance=3.0)
    request, none = stage.request(2), jnp.zeros((2, *stage.shape[:-1], stage.shape[-1] + 1))
    told = latents(stage, params, request | {"context_frames": none})
    np.testing.assert_allclose(told, latents(stage, params, request), atol=1e-5)


def test_pixels_of_a_clip_are_given_as_their_latents(trained):
    """Only the frames of `sampling.given` are looked at."""
    stage, params = trained(given=(0,))
    clips = [Clips(FRAMES)[i] for i in range(2)]
    asked = stage.asked_of(clips, {})
    z = latents(stage, params, asked)
    asked["given_video"] = asked["given_video"].copy()
    asked["given_video"][:, 1:] = 0
    again = latents(stage, params, asked)
    np.testing.assert_array_equal(z, again)
    keys = sample_keys(stream(KEY, "video told"), INDEX)
    alone = stage.tell.encode(params, jnp.asarray(asked["given_video"][:, :1]), keys)
    np.testing.assert_allclose(z[:, 0], alone[:, 0], atol=1e-5)


def test_noise_on_given_frames_is_told_and_not_left_on_them(trained):
    training = {"noise": 250, "conditions": (CONTEXT, NOISE)}
    stage, params = trained(training=training, given_noise=100)
    z = jax.random.normal(jax.random.key(7), (2, *stage.shape))
    given = context_of(z, jnp.broadcast_to(jnp.arange(FRAMES) == 1, (2, FRAMES)))
    told, finish = stage.tell(params, jax.random.split(KEY, 2), INDEX, {"context_frames": given})
    np.testing.assert_array_equal(told["context_noise"], 100.0)
    seen = told["context_frames"]
    assert 0.1 < jnp.abs(seen[:, 1, ..., :-1] - z[:, 1]).mean() < 1.0
    np.testing.assert_array_equal(seen[..., -1], given[..., -1])
    np.testing.assert_array_equal(finish(jnp.zeros_like(z))[:, 1], z[:, 1])


def test_each_guidance_has_its_own_scale(trained):
    """With both at 1 nothing is guided; each alone, and both, are something else."""
    z = jax.random.normal(jax.random.key(7), (2, FRAMES, 4, 4, 4))
    cond = {"context_frames": context_of(z, jnp.broadcast_to(jnp.arange(FRAMES) == 0, (2, FRAMES)))}
    found = []
    for guidance, context in ((1.0, 1.0), (2.0, 1.0), (1.0, 2.0), (2.0, 2.0)):
        stage, params = trained(guidance=guidance, context_guidance=context)
        found.append(latents(stage, params, stage.request(2) | cond))
    for i, one in enumerate(found):
        assert all(jnp.abs(one - other).max() > 1e-4 for other in found[:i])


@pytest.mark.parametrize(
    ("sampling", "message"),
    [
        ({"given": (0, 1, 2)}, "sampling.given=.* not all"),
        ({"given": (5,)}, "sampling.given=.5,. must be some of the frames"),
        ({"given_noise": 1000}, "sampling.given_noise=1000 must be a time"),
    ],
)
def test_frames_that_cannot_be_given_are_refused(trained, sampling, message):
    with pytest.raises(InputError, match=message):
        trained(**sampling)


def test_a_network_without_context_frames_is_given_none(video):
    with pytest.raises(InputError, match="made without context frames"):
        make_stage(video(sampling={"given": (0,)}))


# Several frame rates.

RATES = {"kind": "frame_rate", "rates": (7.5, 30.0)}


@pytest.fixture
def interpolation(prediction):
    """Make a config of a network that interpolates at two rates."""

    def make(fps=7.5, more_fps=(30.0,), conditions=(CONTEXT, RATES)):
        config = prediction(given=((1.0, (0, 2)),), conditions=conditions)
        with config.unlocked():
            config.data.fps, config.data.more_fps = fps, more_fps
        return config

    return make


def test_a_clip_is_told_its_own_rate_and_a_sample_the_data_s(interpolation):
    stage = make_stage(interpolation())
    batch = batch_of(stage) | {"fps": jnp.array([7.5, 30.0, 30.0, 7.5])}
    assert "fps" in stage.needs
    told = stage.of_clip(batch, jnp.zeros((4, *stage.shape)), KEY)
    np.testing.assert_array_equal(told["fps"], batch["fps"])
    for fps in (7.5, 30.0):
        request = make_stage(interpolation(fps=fps, more_fps=())).request(2)
        np.testing.assert_array_equal(request["fps"], [fps, fps])


def test_layers_of_two_rates_are_sampled_at_both_and_no_other(interpolation, tmp_path):
    leave(interpolation(), tmp_path / "trained.safetensors")
    make_stage(interpolation(fps=30.0, more_fps=())).load(str(tmp_path / "trained.safetensors"))
    with pytest.raises(InputError, match=r"fps=15.0 .*the network knows \(7.5, 30.0\) fps"):
        make_stage(interpolation(fps=15.0, more_fps=()))
    with pytest.raises(InputError, match="the network is not told the rate"):
        make_stage(interpolation(conditions=(CONTEXT,)))
