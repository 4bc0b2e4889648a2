"""Paths, configs and options that do not fit are told in one line that names file and entry."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import small_files
from safetensors.numpy import load_file, save_file
from small_files import change_config, change_tensors

from vldm_jax.cli.main import main
from vldm_jax.core.errors import InputError
from vldm_jax.interop import load, save
from vldm_jax.interop.find import find
from vldm_jax.interop.layouts.formats import FORMATS


def refusal(function, *args, **kwargs):
    with pytest.raises(InputError) as caught:
        function(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_path_to_nothing(tmp_path):
    path = tmp_path / "nothing"
    message = f"no such file or folder: {str(path)!r}; give the path of an existing one"
    assert refusal(load, path) == message
    assert refusal(load, str(path) + ".safetensors").startswith("no such file or folder")


def test_folders_without_clear_weights(tmp_path):
    assert refusal(load, tmp_path) == (
        f"{tmp_path} holds no weights: no .safetensors and no model_index.json"
    )
    for name in ("a", "b"):
        save_file({"x": np.zeros(2)}, tmp_path / f"{name}.safetensors")
    assert refusal(load, tmp_path) == (
        f"{tmp_path} holds several files, a.safetensors and more: name one"
    )


def test_a_pipeline_without_networks(tmp_path):
    (tmp_path / "model_index.json").write_text("{}")
    (tmp_path / "scheduler").mkdir()
    assert refusal(load, tmp_path).startswith(f"{tmp_path} has none of the sub-folders unet, vae")
    (tmp_path / "unet").mkdir()
    assert refusal(load, tmp_path).startswith(f"{tmp_path}/unet holds no weights")


@pytest.mark.parametrize("name", ["a.onnx", "a.gguf", "README", "a.safetensors.part"])
def test_a_file_of_another_kind(tmp_path, name):
    (tmp_path / name).write_bytes(b"\0" * 100)
    assert refusal(load, tmp_path / name).startswith(
        f"{tmp_path / name} is no checkpoint: expected .safetensors"
    )


@pytest.mark.parametrize("text", [b"", b"{", b"null", b"[1]", b'"unet"', b"\xff\xfe{}"])
def test_a_config_that_is_no_table(weights, text):
    config = weights("text_encoder").with_name("config.json")
    config.write_bytes(text)
    message = refusal(load, config.parent)
    assert message.startswith(f"{config}: not a table of settings (")


UNSUPPORTED = {
    "unet": {
        "addition_embed_type": "text_time",
        "class_embed_type": "projection",
        "resnet_time_scale_shift": "scale_shift",
        "time_cond_proj_dim": 256,
        "encoder_hid_dim": 768,
        "transformer_layers_per_block": [1, 2],
        "dual_cross_attention": True,
        "flip_sin_to_cos": False,
        "freq_shift": 1,
        "act_fn": "gelu",
        "center_input_sample": True,
        "conv_in_kernel": 1,
        "a_setting_of_the_future": 3,
        # What the weights contradict.
        "block_out_channels": [64, 64],
        "cross_attention_dim": 16,
        "layers_per_block": 2,
        "in_channels": 9,
        "use_linear_projection": False,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "num_class_embeds": 10,
    },
    "autoencoder": {
        "shift_factor": 0.1,
        "latents_mean": [0.0, 0.0, 0.0, 0.0],
        "act_fn": "gelu",
        "latent_channels": 16,
        "use_post_quant_conv": False,
        "mid_block_add_attention": False,
    },
    "text_encoder": {"hidden_size": 64, "vocab_size": 49408, "num_hidden_layers": 12},
    "temporal": {
        "block_out_channels": [32, 32],
        "motion_transformer_layers_per_block": 2,
        "use_motion_mid_block": False,
        "conv_in_channels": 9,
    },
}


@pytest.mark.parametrize(
    ("kind", "entry", "value"),
    [(kind, *item) for kind, entries in UNSUPPORTED.items() for item in entries.items()],
)
def test_a_config_that_asks_for_something_else(weights, kind, entry, value):
    file = weights(kind)
    change_config(file, **{entry: value})
    config = file.with_name("config.json")
    message = refusal(load, file.parent)
    assert message.startswith(f"{config}: {entry} = {value!r} is not supported with these weights")


@pytest.mark.parametrize("entry", ["sample_size", "dropout", "upcast_attention", "_name_or_path"])
def test_a_config_may_speak_of_other_things(weights, entry):
    file = weights("unet")
    change_config(file, **{entry: 3, "num_class_embeds": None, "class_embed_type": False})
    assert list(find(str(file.parent))) == ["unet"]


def test_a_corrected_field_excuses_no_other_entry(weights):
    file = weights("unet")
    change_config(file, act_fn="gelu")
    message = refusal(load, file.parent, fields={"norm_eps": 1e-6})
    assert "act_fn = 'gelu' is not supported with these weights" in message
    change_config(file, act_fn="silu", norm_eps=1e-6)
    assert load(file.parent, fields={"norm_eps": 1e-4}).fields["norm_eps"] == 1e-4


CORRECTED = {
    "unet": [("norm_num_groups", 7, {"norm_groups": 16}), ("norm_eps", 3, {"norm_eps": 1e-6})],
    "text_encoder": [
        ("num_attention_heads", 5, {"heads": 4}),
        ("hidden_act", "relu", {"activation": "gelu"}),
    ],
    "temporal": [("motion_num_attention_heads", 0, {"temporal": {"heads": 4}})],
}


@pytest.mark.parametrize(
    ("kind", "entry", "value", "config"),
    [(kind, *case) for kind, cases in CORRECTED.items() for case in cases],
)
def test_a_field_that_config_json_tells_wrongly(weights, kind, entry, value, config):
    """Of it no network could be built, or another one."""
    file = weights(kind)
    change_config(file, **{entry: value})
    (name, right), found = next(iter(config.items())), load(file.parent, fields=config).fields
    assert found[name] == right if name != "temporal" else found[name]["heads"] == right["heads"]


@pytest.mark.parametrize(("heads", "kept"), [([4, 4], 4), ([4, 8], None), ([], None)])
def test_motion_modules_with_heads_a_level(weights, heads, kept):
    file = weights("temporal")
    change_config(file, motion_num_attention_heads=heads)
    if kept:
        assert load(file.parent).fields["temporal"]["heads"] == kept
    else:
        told = f"config.json: motion_num_attention_heads = {heads} is not supported: modules of"
        assert told in refusal(load, file.parent)


def broken(*args):
    raise TypeError("our own mistake")


def test_a_mistake_of_ours_is_blamed_on_settings_only_where_there_are_any(weights, monkeypatch):
    file = weights("unet")
    lone = shutil.copy(file, file.parent.parent / "lone.safetensors")
    form = dataclasses.replace(FORMATS["unet"], fields=broken)
    monkeypatch.setitem(FORMATS, "unet", form)
    with pytest.raises(TypeError, match="our own mistake"):
        load(lone)
    assert "describes no network" in refusal(load, lone, fields={"heads": 4})
    assert "describes no network" in refusal(load, file.parent)


WRONG = {
    "text_encoder": {
        "num_attention_heads": [0, 5, "x", [1], {}],
        "hidden_act": ["relu", 3, {}],
        "layer_norm_eps": ["x", [1]],
        "text_config": [3],
    },
    "autoencoder": {"norm_num_groups": [0, 7, "x", [1], {}]},
    "temporal": {"motion_num_attention_heads": [0, 7, "x", {}]},
    "unet": {"attention_head_dim": [0, 7, "x", [8], {}], "norm_num_groups": [0, 7, "x"]},
}


@pytest.mark.parametrize(
    ("kind", "entry", "value"),
    [(kind, k, v) for kind, entries in WRONG.items() for k, vs in entries.items() for v in vs],
)
def test_a_config_of_which_no_network_can_be_built(weights, kind, entry, value):
    file = weights(kind)
    change_config(file, **{entry: value})
    assert str(file.with_name("config.json")) in refusal(load, file.parent)


def test_unknown_fields_types_and_parts(weights):
    file = weights("text_encoder")
    assert refusal(load, file, fields={"depth": 3}).endswith("has no field 'depth'")
    assert str(file.parent) in refusal(load, file, fields={"depth": 3})
    assert "5 attention heads do not divide" in refusal(load, file, fields={"heads": 5})
    assert load(file, fields={"heads": 4}).fields["heads"] == 4
    message = refusal(load, file, dtype="float64")
    assert "dtype='float64'" in message and "bfloat16" in message
    assert refusal(load, file, "unet") == f"{file} has no part 'unet'; it has text_encoder"
    assert "no moving average" in refusal(load, file, ema=True)


def test_a_part_that_a_pipeline_has_not(small, tmp_path):
    (tmp_path / "model_index.json").write_text("{}")
    shutil.copytree(small / "unet", tmp_path / "unet")
    assert refusal(load, tmp_path, "vae") == f"{tmp_path} has no part 'vae'; it has unet"
    message = refusal(load, tmp_path / "unet", "vae")
    assert message == f"{tmp_path / 'unet'} has no part 'vae'; it has unet"


@pytest.mark.parametrize("value", [7e4, -7e4])
def test_values_that_float16_cannot_hold(weights, tmp_path, value):
    file = weights("text_encoder")
    key = "text_model.encoder.layers.0.mlp.fc1.weight"

    def change(arrays):
        arrays[key][3, 5] = value

    change_tensors(file, change)
    message = f"'{key}' in {file} has values too large for float16: use bfloat16"
    assert refusal(load, file, dtype="float16") == message
    assert (
        main(["convert", "import", str(file), "--out", str(tmp_path / "o"), "--dtype=float16"]) == 2
    )
    assert not (tmp_path / "o").exists()
    kernel = load(file, dtype="bfloat16").params["encoder"]["layers_0"]["mlp"]["fc1"]["kernel"]
    assert float(kernel[5, 3]) == pytest.approx(value, rel=2**-8)


OWN = {
    "another kind": ({"kind": "gan"}, "unknown kind of network 'gan'"),
    "a field too many": ({"config": {"depth": 3}}, "has no field 'depth'"),
    "no fields": ({"config": 3}, "lacks its 'kind' or 'config'"),
    "a list of fields": ({"config": [["width", 32]]}, "lacks its 'kind' or 'config'"),
    "fields by another name": ({"config": {"width": [32]}}, "weights.safetensors"),
    "a kind by number": ({"kind": 3}, "lacks its 'kind' or 'config'"),
    "a kind by list": ({"kind": ["unet"]}, "lacks its 'kind' or 'config'"),
    "layers without end": (
        {"config": small_files.FIELDS["text_encoder"] | {"layers": 1 << 32}},
        "layers = 4294967296 is no size of its network",
    ),
    "more layers than arrays": (
        {"config": small_files.FIELDS["text_encoder"] | {"layers": 2000}},
        "layers = 2000 is no size of its network",
    ),
    "levels without end": (
        {"kind": "unet", "config": {"channels": [8] * 3000}},
        "is no size of its network",
    ),
    "a level for each of many layers": (
        {"kind": "unet", "config": {"channels": [8] * 60, "layers_per_level": 12}},
        "layers_per_level = 12 is no size of its network",
    ),
    "an autoencoder without end": (
        {"kind": "autoencoder", "config": {"blocks": 1 << 32}},
        "blocks = 4294967296 is no size of its network",
    ),
    "blocks of motion modules without end": (
        {"kind": "temporal", "config": {"temporal": {"num_blocks": 1 << 40}}},
        "temporal/num_blocks = 1099511627776 is no size of its network",
    ),
    "a width that overflows": (
        {"config": small_files.FIELDS["text_encoder"] | {"width": 1 << 62}},
        "width = 4611686018427387904 is no size of its network",
    ),
    "other fields": ({"config": small_files.FIELDS["text_encoder"] | {"heads": 5}}, "5 attention"),
    "an unknown family": (
        {"kind": "temporal", "config": {"temporal": {"family": "lstm"}}},
        "unknown temporal family 'lstm'",
    ),
}


@pytest.mark.parametrize(("meta", "message"), OWN.values(), ids=OWN)
def test_a_file_of_ours_that_lies(tmp_path, meta, message):
    file = tmp_path / "weights.safetensors"
    save(small_files.network("text_encoder"), file)
    true = {"kind": "text_encoder", "config": small_files.FIELDS["text_encoder"]}
    save_file(load_file(file), file, metadata={"vldm": json.dumps(true | meta)})
    told = refusal(load, file)
    assert message in told and str(file) in told


@pytest.mark.parametrize("family", ["animatediff", "video_ldm"])
def test_temporal_layers_for_another_backbone(small, tmp_path, family):
    unet = load(small / "unet")
    if family == "animatediff":
        file = small / "temporal"
        layers = load(file)
    else:
        file = tmp_path / "temporal.safetensors"
        layers = small_files.temporal_of(small_files.network("video_unet"))
        save(layers, file)
        layers = load(file)
    video = layers.onto(unet)
    assert video.kind == "video_unet"
    other = small_files.network("unet", channels=[32, 96])
    message = refusal(layers.onto, other)
    assert "channels = " in message and "96" in message and str(file) in message
    wider = small_files.network("unet", context_dim=16)
    if family == "video_ldm":  # its transformers attend to the text
        assert f"{file}: made for a backbone with context_dim = 8" in refusal(layers.onto, wider)
    else:
        assert layers.onto(wider).fields["context_dim"] == 16
    told = refusal(layers.onto, video)
    assert "onto a network of kind 'unet'" in told and "is of kind 'video_unet'" in told
