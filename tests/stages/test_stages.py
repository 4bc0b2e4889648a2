"""What stages promise of their files, parameters and samples; on small files made by themselves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file
from small_stages import (
    FRAMES,
    Clips,
    config_of,
    leave,
    with_everything_trained,
)

from vldm_jax.checkpoint.weights import load_weights, save_weights
from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import sha256
from vldm_jax.core.paths import flatten
from vldm_jax.stages.plan import make_plan
from vldm_jax.stages.table import make_stage
from vldm_jax.training.state import split_params

DECODER = (("^autoencoder/(encoder|quant_conv)", "frozen"), ("", "autoencoder"))


def batch_of(config, known=2):
    source = Clips(config.data.num_frames)
    examples = [source[i] for i in range(2)]
    stage = make_stage(config)
    return {key: jnp.stack([jnp.asarray(e[key]) for e in examples]) for key in stage.needs}


# Starting from weights.


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        ("model", {"network": {"head_dim": 2}}, "network/head_dim is 4 there and 2 here"),
        ("diffusion", {"target": "epsilon"}, "diffusion/target is v there and epsilon here"),
        ("model", {"temporal": {"positions": "relative"}}, "positions is absolute there"),
        ("diffusion", {"schedule": {"beta_end": 0.03}}, "beta_end is 0.0195 there"),
    ],
)
def test_weights_of_another_meaning_are_no_start_though_shapes_fit(
    video, world, section, change, message
):
    sections = {"model": {"init": world["video"]}}
    sections[section] = sections.get(section, {}) | change
    with pytest.raises(InputError, match=message):
        make_stage(video(**sections)).files  # noqa: B018


def test_an_image_model_of_other_heads_is_no_start(image, world):
    model = {"init": world["image"], "network": {"head_dim": 8}}
    with pytest.raises(InputError, match="head_dim is 4 there and 8 here"):
        make_stage(image(model=model)).files  # noqa: B018


def test_mixes_of_another_number_of_frames_are_fresh_and_said(video, world, capsys):
    config = video(model={"init": world["video"]}, data={"num_frames": FRAMES + 2})
    start = flatten(make_stage(config).init(jax.random.key(0))["network"])
    before = flatten(load_weights(world["video"])[0])
    fresh = {path for path, leaf in before.items() if start[path].shape != leaf.shape}
    assert fresh and all(path.endswith("mixer/logit") for path in fresh)
    said = capsys.readouterr().out
    assert all(path in said for path in fresh)
    for path in before.keys() - fresh:
        np.testing.assert_array_equal(start[path], before[path], err_msg=path)


def test_what_a_run_reads_is_known_by_its_content(image, world, tmp_path):
    config = image(model={"init": world["image"]})
    assert make_stage(config).hashes() == {str(world["image"]): sha256(world["image"])}
    null = tmp_path / "null.safetensors"
    save_file({"context": np.zeros((1, 3, 8), np.float32)}, null)
    with config.unlocked():
        config.model.null_context = config.sampling.context = str(null)
        config.model.init = None
    assert make_stage(config).hashes() == {str(null): sha256(null)}


@pytest.mark.parametrize("stage", ["image", "video"])
def test_sampling_does_not_need_what_training_started_from(request, world, stage):
    config = request.getfixturevalue(stage)(model={"init": "moved/away.safetensors"})
    tree, files = make_stage(config).load(str(world[stage]))
    assert "init" not in files and tree.keys() == {"network", "autoencoder"}
    with pytest.raises(InputError, match="no such file or folder: 'moved/away.safetensors'"):
        make_stage(config).files  # noqa: B018


def test_temporal_layers_without_a_backbone_ask_for_one(video, world, tmp_path):
    leave(with_everything_trained(video()), tmp_path / "whole.safetensors")
    config = video(model={"init": tmp_path / "whole.safetensors", "backbone": None})
    assert make_stage(config).files.keys() == {"autoencoder", "init"}
    with pytest.raises(InputError, match="config.model.backbone is not set: give unet weights"):
        make_stage(config).load(str(world["video"]))


def test_a_start_that_lacks_anything_else_is_refused(image, world, tmp_path):
    params, meta = load_weights(world["image"])
    del params["conv_in"]["bias"]
    save_weights(tmp_path / "less.safetensors", params, meta)
    stage = make_stage(image(model={"init": tmp_path / "less.safetensors"}))
    with pytest.raises(InputError, match="lacks 'conv_in/bias'"):
        stage.init(jax.random.key(0))


@pytest.mark.slow
def test_end_to_end_there_is_no_image_model_and_all_is_left_in_one_file(video, tmp_path):
    config = with_everything_trained(video(model={"backbone": "fresh"}))
    stage = make_stage(config)
    assert stage.files.keys() == {"autoencoder"}
    params = stage.init(jax.random.key(0))
    assert flatten(params).keys() == flatten(stage.shapes()).keys()
    path = tmp_path / "whole.safetensors"
    stage.export(path, params | stage.given(), make_plan(config).trained, 1, Clips(FRAMES))
    loaded, files = make_stage(config).load(str(path))
    assert files.keys() == {"autoencoder", "weights"}
    for name, leaf in flatten(params["network"]).items():
        np.testing.assert_allclose(flatten(loaded["network"])[name], leaf, atol=1e-3, err_msg=name)


def test_layers_that_start_at_random_are_not_frozen(video):
    stage = make_stage(video(model={"backbone": "fresh"}))
    with pytest.raises(InputError, match="'fresh' and config.train.rules freezes network/conv_in/"):
        stage.files  # noqa: B018


# Latents.


def tuned(world, tmp_path, rules):
    """Tune the world's autoencoder under rules; its weights move as far as they may."""
    config, out = config_of("autoencoder", model={"init": world["autoencoder"]}), tmp_path / "ae.st"
    with config.unlocked():
        config.train.rules = rules
        config.train.groups = {"autoencoder": (1.0, 0.0)}
    plan = make_plan(config)
    start = {"autoencoder": plan.stage.files["init"].read(), "logvar": np.zeros((), np.float32)}
    moved = {
        path: np.float32(leaf + 0.1 * (path in plan.trained))
        for path, leaf in flatten(start).items()
    }
    plan.stage.export(out, paths.unflatten(moved), plan.trained, 5, Clips())
    return out


@pytest.mark.parametrize("recorded", ["fingerprint", "file"])
def test_a_tuned_decoder_is_the_same_autoencoder_to_its_models(
    image, video, world, tmp_path, recorded
):
    """Scale and fingerprint stay, so models on the old latents run on the new decoder."""
    decoder = tuned(world, tmp_path, DECODER)
    scale = [load_weights(p)[1]["config"]["latent_scale"] for p in (world["autoencoder"], decoder)]
    assert scale[0] == scale[1]
    model = world["image"]
    if recorded == "file":  # as files from before there were fingerprints
        params, meta = load_weights(model)
        del meta["latents"]
        model = tmp_path / "old.safetensors"
        save_weights(model, params, meta)
    params, _ = make_stage(image(model={"autoencoder": decoder})).load(str(model))
    assert float(jnp.abs(params["autoencoder"]["decoder"]["conv_in"]["bias"]).max()) > 0.05
    make_stage(video(model={"autoencoder": decoder, "backbone": model})).files  # noqa: B018


def test_a_tuned_encoder_is_another_autoencoder(image, world, tmp_path):
    other = tuned(world, tmp_path, (("", "autoencoder"),))
    with pytest.raises(InputError, match="trained on the latents of another autoencoder"):
        make_stage(image(model={"autoencoder": other})).load(str(world["image"]))


# What a loss is told, and samples ask for.


def test_labels_that_training_never_saw_are_not_asked_for(video, world):
    stage = make_stage(video())
    known = stage.request(2)
    np.testing.assert_array_equal(known["labels"], [[0, 4], [1, 4]])
    unknown = stage.request(2, unknown={"labels": ("cars",)})["labels"]
    np.testing.assert_array_equal(unknown, [[0, np.nan], [1, np.nan]])
    assert stage.captions(stage.request(1, unknown={"labels": ("cars",)})) == ["night 0, cars any"]


@pytest.mark.parametrize("asked", [(), ((0.0, 4.0), (1.0, 4.0))], ids=["any", "rows"])
@pytest.mark.parametrize("names", [(), ("cars",), ("night", "cars")])
def test_samples_that_ask_for_anything_may_have_unknown_labels(video, asked, names):
    config = video()
    with config.unlocked():
        config.sampling.labels = asked
    stage = make_stage(config)
    labels = stage.request(2, unknown={"labels": names})["labels"]
    expected = np.array(asked or np.full((2, 2), np.nan))
    expected[:, [name in names for name in config.data.labels]] = np.nan
    np.testing.assert_array_equal(labels, expected)
    known = stage.request(2)["labels"]  # what one request leaves out, the next has again
    np.testing.assert_array_equal(known, asked or np.full((2, 2), np.nan))


def test_a_file_says_which_labels_training_never_saw(image, tmp_path):
    source = Clips()
    source.unknown = {"labels": ("night",)}
    leave(image(), tmp_path / "w.safetensors", source=source)
    assert load_weights(tmp_path / "w.safetensors")[1]["unknown"] == {"labels": ["night"]}


def test_temporal_layers_of_another_frame_rate_do_not_sample(video, world):
    config = video(data={"fps": 30.0})
    with pytest.raises(InputError, match="fps is 7.5 there and 30.0 here"):
        make_stage(config).load(str(world["video"]))
    init = video(data={"fps": 30.0}, model={"init": world["video"]})
    assert "init" in make_stage(init).files  # but layers may be tuned to another rate


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_numbers_are_refused(image, world, tmp_path, value):
    params, meta = load_weights(world["image"])
    params["conv_in"]["kernel"] = np.array(params["conv_in"]["kernel"])
    params["conv_in"]["kernel"][0, 0, 0, :2] = value
    save_weights(tmp_path / "bad.safetensors", params, meta)
    with pytest.raises(
        InputError, match="2 values in 1 arrays are NaN or infinite.*'conv_in/kernel'"
    ):
        make_stage(image()).load(str(tmp_path / "bad.safetensors"))


@pytest.mark.parametrize(
    ("network", "temporal"),
    [
        pytest.param({"dropout": 0.5}, {}, marks=pytest.mark.slow),
        ({"dropout": 0.5, "remat": True}, {}),
        pytest.param({}, {"positions": "relative", "mix": "scalar"}, marks=pytest.mark.slow),
        ({}, {"family": "animatediff", "heads": 2}),
    ],
    ids=["dropout", "remat", "relative", "animatediff"],
)
def test_networks_of_every_kind_have_a_gradient(video, network, temporal):
    """Traced, not run: dropout finds its keys, a family without mixes reports none."""
    config = video()
    with config.unlocked():
        config.model.network.update(network)
        if "family" in temporal:
            config.model.temporal = temporal
        config.model.temporal.update(temporal)
    plan = make_plan(config)
    trainable, frozen = split_params(plan.stage.shapes(), config.train.rules)
    frozen |= plan.stage.given()
    key, step = jax.eval_shape(lambda: (jax.random.key(0), jnp.zeros((), jnp.int32)))

    def loss(trainable, batch, key, step):
        return plan.stage.loss(paths.merge(trainable, frozen), batch, key, step)

    frozen = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), frozen)
    gradient = jax.grad(loss, has_aux=True)
    grads, metrics = jax.eval_shape(gradient, trainable, batch_of(config), key, step)
    assert grads == trainable
    assert any("mix" in name for name in metrics) == ("family" not in temporal)


def test_a_misspelt_key_of_a_section_is_named(video):
    config = video()
    with config.unlocked():
        config.model.bakcbone = "x"
    with pytest.raises(InputError, match="config.model has no key 'bakcbone'; did you mean 'back"):
        make_stage(config)


def test_the_number_of_frames_is_said_once(video):
    config = video()
    assert make_stage(config).network.temporal.num_frames == FRAMES
    with config.unlocked():
        config.model.temporal.num_frames = FRAMES + 1
    with pytest.raises(InputError, match="is not config.data.num_frames=3"):
        make_stage(config)


def test_data_without_text_is_said_before_it_is_read():
    config = config_of("image", model={"network": {"label_tokens": ()}})
    with config.unlocked():
        config.model.null_context = None
        config.sampling.context = None
    with pytest.raises(InputError, match="brings no 'context', which this stage is trained with"):
        make_stage(config).check_data()
