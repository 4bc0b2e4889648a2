"""The temporal decoder's stage: where it starts, what it trains, what runs on what it leaves."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_stages import FRAMES, Clips, config_of, leave, random_clips, random_params

from vldm_jax.checkpoint.weights import load_weights
from vldm_jax.cli import main as entry
from vldm_jax.cli.sample import sample
from vldm_jax.config.data import SOURCES, Row
from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.core.paths import flatten
from vldm_jax.sampling.maker import to_pixels
from vldm_jax.stages.judge import Judge
from vldm_jax.stages.origin import ENCODER, fingerprint_of
from vldm_jax.stages.plan import make_plan
from vldm_jax.stages.samples import real_clips
from vldm_jax.stages.table import make_stage
from vldm_jax.training.state import split_params


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    monkeypatch.setenv("VLDM_FEATURE_CACHE", str(tmp_path / "numbers"))
    monkeypatch.setitem(SOURCES, "random", Row(random_clips))


def clips(count=2):
    source = Clips(FRAMES)
    return [source[i] for i in range(count)]


def reconstruct(stage, weights, examples):
    params, _ = stage.load(str(weights))
    asked = {key: jnp.asarray(value) for key, value in stage.asked_of(examples, {}).items()}
    return stage.sampler()(params, jax.random.key(0), jnp.arange(len(examples)), asked)


@pytest.fixture
def trained(decoder, tmp_path):
    """A decoder whose every trained parameter has moved."""
    leave(decoder(), tmp_path / "decoder.safetensors", steps=3)
    return tmp_path / "decoder.safetensors"


# Where it starts, and what it trains.


def test_it_starts_as_the_image_decoder_frame_by_frame(decoder, world, capsys):
    stage = make_stage(decoder())
    params = stage.init(jax.random.key(0)) | stage.given()
    assert "fresh, not in" in capsys.readouterr().out
    image = make_stage(config_of("autoencoder", model={"init": world["autoencoder"]}))
    examples = clips()
    frames = [{"image": frame} for one in examples for frame in one["video"]]
    alone = reconstruct(image, world["autoencoder"], frames)
    asked = jax.tree.map(jnp.asarray, stage.asked_of(examples, {}))
    together = stage.sampler()(params, jax.random.key(0), jnp.arange(2), asked)
    apart = np.int32(alone.reshape(together.shape)) - np.int32(together)
    assert np.abs(apart).max() <= 1  # a gray level: rounding
    assert np.std(alone) > 10


def test_the_rules_decide_whether_spatial_layers_of_the_decoder_move(decoder):
    plan = make_plan(decoder())
    own = {path for path in plan.trained if path.startswith("autoencoder/")}
    assert own and all("temporal" in path for path in own)
    assert any(path.startswith("discriminator/") for path in plan.trained)
    assert not any(f"autoencoder/{name}/" in path for name in ENCODER for path in plan.trained)
    config = decoder()
    with config.unlocked():
        config.train.rules = (("^discriminator/", "discriminator"), ("", "temporal"))
    more = {path for path in make_plan(config).trained if path.startswith("autoencoder/")}
    assert more > own and "autoencoder/decoder/conv_in/kernel" in more


def test_the_encoder_is_not_the_rules_to_give(decoder):
    config = decoder()
    with config.unlocked():
        config.train.rules = (("^encoder/", "temporal"), *config.train.rules)
    with pytest.raises(InputError, match="would train .*encoder, which this stage's loss does not"):
        make_plan(config)


def test_a_step_moves_what_the_rules_train_and_nothing_else(decoder):
    plan = make_plan(decoder(objective={"disc_start": 0}))
    stage, config = plan.stage, plan.config
    trainable, frozen = split_params(random_params(stage.shapes()), config.train.rules)
    frozen |= stage.given()
    batch = {"video": jnp.stack([jnp.asarray(one["video"]) for one in clips()])}

    def loss(trainable):
        key, step = jax.random.key(0), jnp.array(5)
        return stage.loss(paths.merge(trainable, frozen), batch, key, step)

    gradient, metrics = jax.jit(jax.grad(loss, has_aux=True))(trainable)
    for path, leaf in flatten(gradient).items():
        assert float(jnp.abs(leaf).max()) > 0, path
    assert {"l1", "lpips", "loss_d", "w_adapt"} <= metrics.keys() and "kl" not in metrics


# What it leaves.


def test_encoder_scale_and_fingerprint_stay_to_the_bit(world, trained):
    before, after = load_weights(world["autoencoder"]), load_weights(trained)
    for path, leaf in flatten(before[0]).items():
        if path.startswith(ENCODER):
            np.testing.assert_array_equal(flatten(after[0])[path], leaf, err_msg=path)
    assert after[1]["config"]["latent_scale"] == before[1]["config"]["latent_scale"]
    assert after[1]["config"]["temporal_decoder"] is True
    stage = make_stage(config_of("autoencoder", model={"init": world["autoencoder"]}))
    assert after[1]["latents"] == fingerprint_of(stage.files["init"])
    assert after[1]["decoder"] == {
        "num_frames": FRAMES, "fps": 30.0, "size": [8, 8], "examples": 8,
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["image", "video"])
def test_every_model_on_these_latents_samples_with_it(request, world, trained, kind):
    make = request.getfixturevalue(kind)
    found = {}
    for name, file in (("before", world["autoencoder"]), ("after", trained)):
        stage = make_stage(make(model={"autoencoder": file}))
        params, _ = stage.load(str(world[kind]))
        asked = jax.tree.map(jnp.asarray, stage.request(2))
        key, index = jax.random.key(0), jnp.arange(2)
        found[name] = stage.sampler()(params, key, index, asked)
        z = stage.sampler().latents(params, key, index, asked)
        found[f"z {name}"] = np.asarray(z)
    np.testing.assert_array_equal(found["z before"], found["z after"])
    assert found["before"].shape == found["after"].shape
    assert np.any(np.asarray(found["before"]) != np.asarray(found["after"]))


def test_it_goes_on_from_what_it_left(decoder, trained, capsys):
    stage = make_stage(decoder(model={"init": trained}))
    start = flatten(stage.init(jax.random.key(0))["autoencoder"])
    assert "fresh" not in capsys.readouterr().out
    for path, leaf in flatten(load_weights(trained)[0]).items():
        if not path.startswith(ENCODER):
            np.testing.assert_array_equal(start[path], np.float32(leaf), err_msg=path)


# Reconstructions.


def test_a_decoder_is_seen_to_change_reconstructions_which_keep_their_clips(
    decoder, world, trained
):
    stage, examples = make_stage(decoder()), clips(3)
    before, after = (reconstruct(stage, file, examples) for file in (world["autoencoder"], trained))
    assert before.shape == after.shape == (3, FRAMES, 8, 8, 3)
    assert np.any(np.asarray(before) != np.asarray(after))
    alone = reconstruct(stage, trained, examples[1:2])
    assert np.abs(np.int32(alone[0]) - np.int32(after[1])).max() <= 1


def test_an_image_decoder_takes_every_frame_by_itself(world):
    stage = make_stage(config_of("autoencoder"))
    frame = Clips()[0]
    made = reconstruct(stage, world["autoencoder"], [frame])
    params, _ = stage.load(str(world["autoencoder"]))
    image = to_pixels(jnp.asarray(frame["image"]))[None]
    x = stage.network.apply({"params": params["autoencoder"]}, image)
    expected = np.round((np.clip(x, -1, 1) + 1) * 127.5)
    assert made.shape == (1, 1, 8, 8, 3)
    assert np.abs(np.int32(made[0]) - np.int32(expected)).max() <= 1


def evaluated(tmp_path, config, weights, *words):
    """Return metrics.json of `vldm evaluate` of a config."""
    (tmp_path / "config.py").write_text(
        "from ml_collections import ConfigDict\n"
        f"def get_config():\n    return ConfigDict({config.to_dict()!r})\n"
    )
    argv = ["evaluate", "--config", tmp_path / "config.py", "--weights", weights, "--clips", 3]
    argv += ["--out", tmp_path / "figures", *words]
    assert entry.main([str(word) for word in argv]) == 0
    return json.loads((tmp_path / "figures" / "metrics.json").read_text())


@pytest.mark.parametrize("kind", ["decoder", "autoencoder"])
def test_a_reconstruction_is_compared_with_its_own_clip(decoder, world, tmp_path, kind):
    config = decoder() if kind == "decoder" else config_of("autoencoder")
    with config.unlocked():
        config.data.kind = "random"
    figures = "psnr,flicker_pairs,change" if kind == "decoder" else "psnr"
    metrics = evaluated(tmp_path, config, world["autoencoder"], "--figures", figures)
    assert metrics["recipe"]["conditions"] == "the real clips, which samples reconstruct"
    folder = tmp_path / "figures" / "samples"
    made = np.concatenate([np.load(file) for file in sorted(folder.glob("*.npy"))]) / 255
    stage = make_stage(config)
    clips = real_clips(stage, clips=3, seed=0).real
    real = np.stack([clips.read(i) for i in range(3)])
    examples = [{"video": one, "image": one[0]} for one in real]
    again = reconstruct(stage, world["autoencoder"], examples)
    assert np.abs(made * 255 - np.asarray(again)).max() <= 1.001
    errors = np.square(made - real / 255).mean((2, 3, 4))
    expected = -10 * np.log10(errors).mean()
    assert metrics["figures"]["psnr"]["value"] == pytest.approx(expected, rel=1e-5)
    assert metrics["figures"]["psnr"]["floor"] is None
    if kind == "decoder":
        assert metrics["figures"]["change"]["floor"] > 0
        apart = np.abs(np.diff(made - real / 255, axis=1)).mean()
        assert metrics["figures"]["flicker_pairs"]["value"] == pytest.approx(apart, rel=1e-5)


def test_figures_of_pairs_are_had_during_training(decoder, tmp_path):
    often = {"evaluate_every": 1}
    evals = {"figures": "('psnr','change')", "clips": 3, "keep_best": "psnr"}
    stage = make_plan(decoder(data={"kind": "random"}, train=often, evals=evals)).stage
    params = stage.init(jax.random.key(0)) | stage.given()
    assert set(Judge(stage)(params, 1, tmp_path)["figures"]) == {"psnr", "change"}


def test_a_figure_without_what_it_takes_is_still_refused(decoder, video):
    often = {"evaluate_every": 1}
    for config, figure in ((decoder, "clipsim"), (video, "psnr")):
        with pytest.raises(InputError, match=f"{figure} takes clips with "):
            make_plan(config(train=often, evals={"figures": f"('{figure}',)"}))


def test_a_preview_has_each_clip_above_its_reconstruction(decoder):
    stage, source = make_stage(decoder()), Clips(FRAMES)
    params = random_params(stage.shapes()) | stage.given()
    frames, captions = stage.preview(params, source, 2), stage.preview_captions(source, 2)
    assert frames.shape == (4, FRAMES, 8, 8, 3) and len(captions) == 4
    np.testing.assert_array_equal(frames[::2], [source[i]["video"] for i in (0, 7)])
    assert np.any(frames[1::2] != frames[::2])


# Bad input.


def test_it_makes_nothing_from_noise_and_says_what_does(decoder, trained, tmp_path):
    message = "samples of objective 'decoder' are reconstructions .* vldm evaluate makes them"
    with pytest.raises(InputError, match=message):
        sample(decoder(), str(trained), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"model": {"init": None}}, "config.model.init is not set: give autoencoder weights"),
        ({"model": {"init": "nowhere"}}, "no such file or folder: 'nowhere'"),
        ({"data": {"num_frames": 1}}, "num_frames=1: a temporal decoder is trained on clips"),
        ({"data": {"height": 9}}, "must be a multiple of 2"),
        ({"model": {"network": {"base": 8}}}, "base is 4 there and 8 here"),
        ({"model": {"discriminator": {"norm_groups": 3}}}, "norm_groups=3 must divide base=4"),
    ],
)
def test_bad_configs_are_named(decoder, sections, message):
    with pytest.raises(InputError, match=message):
        make_plan(decoder(**sections)).stage.files  # noqa: B018


def test_a_model_of_another_kind_is_no_start(decoder, world):
    with pytest.raises(InputError, match="holds weights of kind 'unet', not 'autoencoder'"):
        make_stage(decoder(model={"init": world["image"]})).files  # noqa: B018
