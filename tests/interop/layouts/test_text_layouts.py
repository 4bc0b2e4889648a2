"""CLIP text encoders in four layouts of keys, with two activations, are one function."""

import json

import original
import pytest
import reference
from diffusers.loaders import single_file_utils
from reference import INPUTS, assert_equal, assert_same_network

from vldm_jax.interop import load

pytestmark = pytest.mark.slow  # whole public networks; CI runs them

torch = reference.torch
ACTIVATIONS = ("quick_gelu", "gelu")


def hub(state):
    """As the files on the Hub, the table of position numbers included."""
    state = {key.removeprefix("text_model."): tensor for key, tensor in state.items()}
    state["embeddings.position_ids"] = torch.arange(11)[None]
    return original.prefixed("text_model.", state)


def flat(state):
    """As transformers 5.6 and later save it."""
    return {key.removeprefix("text_model."): tensor for key, tensor in state.items()}


LAYOUTS = {"hub": hub, "flat": flat, "openclip": original.openclip}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_folder_as_transformers_writes_it(saved, activation):
    net = load(saved("text_encoder", activation))
    assert (net.kind, net.fields["activation"]) == ("text_encoder", activation)
    assert_equal(net(INPUTS.tokens), reference.run_text(reference.text_encoder(activation)))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_folder_says_the_activation(saved, tmp_path, layout, activation):
    model = reference.text_encoder(activation)
    original.write(tmp_path / "model.safetensors", LAYOUTS[layout](model.state_dict()))
    config = json.loads((saved("text_encoder", activation) / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert_equal(load(tmp_path)(INPUTS.tokens), reference.run_text(model))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_lone_file_of_small_width_is_vit_l_but_openclip_names_mean_gelu(tmp_path, layout):
    model = reference.text_encoder("gelu" if layout == "openclip" else "quick_gelu")
    file = original.write(tmp_path / "text.safetensors", LAYOUTS[layout](model.state_dict()))
    net = load(file)
    assert net.fields["activation"] == model.config.hidden_act
    assert_equal(net(INPUTS.tokens), reference.run_text(model))


@pytest.mark.parametrize("prefix", ["transformer.text_model.", "transformer.", "model."])
def test_inside_a_single_file(tmp_path, prefix):
    model = reference.text_encoder("gelu" if prefix == "model." else "quick_gelu")
    names = original.openclip if prefix == "model." else flat
    state = original.whole(
        unet=original.unet(reference.sd1().state_dict()),
        vae=original.autoencoder(reference.autoencoder(2).state_dict()),
        text=original.prefixed(prefix, names(model.state_dict())),
    )
    net = load(original.write(tmp_path / "all.safetensors", state), "text_encoder")
    assert_equal(net(INPUTS.tokens), reference.run_text(model))


def vit_h(layers):
    """As deep as SD 2.x's text encoder, whose file has a 24th block that is not used."""
    return reference.text_encoder("gelu", layers=layers)


def test_openclip_names_are_those_that_diffusers_reads():
    model = vit_h(24)
    state = original.prefixed("cond_stage_model.model.", original.openclip(model.state_dict()))
    converted = flat(single_file_utils.convert_open_clip_checkpoint(model, state))
    wanted = {
        key: tensor for key, tensor in flat(model.state_dict()).items() if ".layers.23." not in key
    }
    assert converted.keys() - {"text_projection.weight"} == wanted.keys()
    assert all(torch.equal(converted[key], tensor) for key, tensor in wanted.items())


@pytest.mark.slow
def test_the_last_of_24_blocks_of_openclip_is_left_out(tmp_path):
    model = vit_h(24)
    net = load(original.write(tmp_path / "x.safetensors", original.openclip(model.state_dict())))
    assert net.fields["layers"] == 23
    # transformers: hidden_states[-2] is what enters the last block
    with torch.no_grad():
        out = model(torch.from_numpy(INPUTS.tokens), output_hidden_states=True)
        norm = getattr(model, "text_model", model).final_layer_norm
        assert_equal(net(INPUTS.tokens), norm(out.hidden_states[-2]).numpy())


@pytest.mark.slow
@pytest.mark.parametrize("layers", [23, 25, 3], ids=["written by diffusers' tools", "more", "less"])
def test_other_numbers_of_blocks_are_all_used(saved, tmp_path, layers):
    model = vit_h(layers)
    net = load(original.write(tmp_path / "x.safetensors", original.openclip(model.state_dict())))
    assert net.fields["layers"] == layers
    assert_same_network(net, load(saved("text_encoder", "gelu", layers=layers)))
