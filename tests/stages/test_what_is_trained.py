"""What is trained is what is left: rules, exports and their precision; on small files."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_stages import (
    FRAMES,
    Clips,
    config_of,
    leave,
    random_clips,
    random_params,
    with_everything_trained,
)

from vldm_jax.checkpoint.weights import load_weights, save_weights
from vldm_jax.cli.prepare import prepare
from vldm_jax.cli.train import to_export
from vldm_jax.config.data import SOURCES, Row
from vldm_jax.core.errors import InputError
from vldm_jax.core.paths import flatten
from vldm_jax.models import table
from vldm_jax.stages.plan import check_rules, make_plan
from vldm_jax.stages.table import make_stage
from vldm_jax.training.state import create_state, split_params


def test_temporal_layers_leave_alone_and_run_on_their_backbone(video, world):
    params, meta = load_weights(world["video"])
    assert meta["kind"] == "temporal" and all("temporal" in path for path in flatten(params))
    tree, files = make_stage(video()).load(str(world["video"]))
    image = flatten(load_weights(world["image"])[0])
    assert {"autoencoder", "backbone", "weights"} <= files.keys()
    for path, leaf in image.items():
        np.testing.assert_array_equal(flatten(tree["network"])[path], leaf, err_msg=path)


def test_full_fine_tuning_leaves_every_trained_path_and_samples_with_it(video, world, tmp_path):
    """Spatial arrays that were trained must not be lost, nor replaced by the backbone's."""
    config, out = with_everything_trained(video()), tmp_path / "w.safetensors"
    plan = make_plan(config)
    assert any("temporal" not in path for path in plan.trained)
    moved = random_params(plan.stage.shapes(), seed=1)
    plan.stage.export(out, moved | plan.stage.given(), plan.trained, 3, Clips(FRAMES))
    kept, meta = load_weights(out)
    assert meta["kind"] == "video_unet"
    assert {f"network/{path}" for path in flatten(kept)} == set(plan.trained)
    loaded, files = make_stage(config).load(str(out))
    assert "backbone" not in files
    for path, leaf in flatten(moved["network"]).items():
        np.testing.assert_allclose(flatten(loaded["network"])[path], leaf, atol=2e-3)


def test_a_whole_network_is_trained_on(video, tmp_path):
    out = tmp_path / "w.safetensors"
    leave(with_everything_trained(video()), out)
    config = video(model={"init": out, "backbone": None})
    start = make_stage(config).init(jax.random.key(0))["network"]
    for path, leaf in flatten(load_weights(out)[0]).items():
        np.testing.assert_array_equal(flatten(start)[path], np.asarray(leaf, np.float32))
    again = tmp_path / "again.safetensors"
    leave(config, again)  # the rules train temporal layers only, but no backbone has the rest
    assert load_weights(again)[1]["kind"] == "video_unet"


SOME = (("(conv_in|norm)", "frozen"), ("^network/", "all"))
LAYERS = (("temporal.*conv1", "frozen"), ("temporal", "all"), ("", "frozen"))


@pytest.mark.parametrize(
    ("stage", "rules", "init", "rounded"),
    [
        ("image", SOME, "image", "(conv_in|norm)"),
        ("video", SOME, "video", "(conv_in|norm)"),
        ("video", LAYERS, "whole", "^(?!.*temporal)|conv1"),
        ("video", LAYERS, "video", "temporal.*conv1"),
        ("video", LAYERS[1:], "video", None),  # the usual run keeps nothing twice
    ],
)
def test_what_is_frozen_in_bfloat16_is_exported_to_the_bit(
    request, monkeypatch, world, tmp_path, stage, rules, init, rounded
):
    monkeypatch.setitem(SOURCES, "random", Row(random_clips))
    make = request.getfixturevalue(stage)
    if init == "whole":
        leave(with_everything_trained(make()), tmp_path / "whole.safetensors")
    start = tmp_path / "whole.safetensors" if init == "whole" else world[init]
    config = make(
        model={"init": start},
        train={"precision": "bfloat16"},
        data={"kind": "random"},
    )
    with config.unlocked():
        config.train.rules, config.train.groups = rules, {"all": (1.0, 1.0)}
    plan = make_plan(config)
    run = prepare(plan)
    before, tree = flatten(plan.stage.init(jax.random.key(0))), flatten(to_export(run.state, run))
    run.loader.close()
    assert {path for path in before if rounded and re.search(rounded, path)} == run.exact.keys()
    written = [path for path in before if plan.stage.exports(path, plan.trained)]
    assert any(np.any(before[p] != before[p].astype(jnp.bfloat16)) for p in run.exact or before)
    for path in written:
        np.testing.assert_array_equal(tree[path], before[path], err_msg=path)


def test_rules_do_not_reach_what_the_loss_does_not(world, tmp_path):
    """A temporal decoder of the frozen autoencoder has `temporal` in its names, too."""
    path = tmp_path / "ae.safetensors"
    fields = {"temporal_decoder": True, "post_quant_conv": False}
    stage = make_stage(config_of("autoencoder"))
    module = stage.network.clone(**fields)
    params = random_params(table.abstract_params(module, *module.smallest_inputs(3)))
    meta = {"kind": "autoencoder", "config": table.fields_of(module)}
    save_weights(path, params, meta)
    assert any("temporal" in name for name in flatten(params))
    leave(config_of("image", model={"autoencoder": path}), tmp_path / "image.safetensors")
    model = {"autoencoder": path, "backbone": tmp_path / "image.safetensors"}
    plan = make_plan(config_of("video", model=model))
    assert all(name.startswith("network/") for name in plan.trained)
    trainable, _ = split_params(plan.stage.shapes(), plan.config.train.rules)
    state = jax.eval_shape(lambda tree: create_state(tree, plan.training.optimiser), trainable)
    assert not any("decoder" in str(p) for p, _ in jax.tree_util.tree_leaves_with_path(state))


def test_a_rule_that_only_speaks_of_what_is_given_is_refused(video):
    config = video()
    with config.unlocked():
        config.train.rules = (("^autoencoder/", "temporal"), *config.train.rules)
    with pytest.raises(InputError, match="would train autoencoder, which this stage's loss does"):
        make_plan(config)


@pytest.mark.parametrize(
    "rule", [("decoder/conv_out", "temporal"), ("temporal.*mixr", "temporal"), ("^netwrok", "mix")]
)
def test_a_rule_that_would_train_nothing_is_refused(video, rule):
    config = video()
    with config.unlocked():
        config.train.rules = (rule, *config.train.rules)
    with pytest.raises(InputError, match="config.train.rules: .* matches no parameter"):
        make_plan(config)


@pytest.mark.parametrize("rule", ["^network/conv_inn/", "^autoencoder/encodr/"])
def test_a_rule_that_would_freeze_nothing_is_refused(monkeypatch, image, rule):
    monkeypatch.setitem(SOURCES, "random", Row(random_clips))
    config = image(data={"kind": "random"})
    with config.unlocked():
        config.train.rules = ((rule, "frozen"), *config.train.rules)
    with pytest.raises(InputError, match="config.train.rules: .* matches no parameter"):
        prepare(make_plan(config))


def test_rules_of_what_is_given_and_those_of_the_base_may_stay(image, video):
    config = image()
    with config.unlocked():
        config.train.rules = (("^autoencoder/decoder/conv_out/", "frozen"), *config.train.rules)
    plan = make_plan(config)
    check_rules(plan, plan.stage.given())
    assert plan.trained == make_plan(image()).trained
    config = video()
    with config.unlocked():  # a family without mixes, of which the usual rules speak
        config.model.temporal = {"family": "animatediff", "heads": 2}
    plan = make_plan(config)
    check_rules(plan, plan.stage.given())
    assert all("temporal" in path for path in plan.trained)
