"""Files of other trainers: markers beside the networks, wrappers, averages, foreign parts."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from small_files import change_config, change_tensors, network

from vldm_jax.checkpoint.weights import read_meta
from vldm_jax.cli.main import main
from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.interop import export, load
from vldm_jax.interop.find import find

UNET = "model.diffusion_model."


def refusal(*args, **kwargs):
    with pytest.raises(InputError) as caught:
        load(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def networks(small, tmp_path_factory):
    """Arrays of a U-Net, with convolutions as Stable Diffusion 1.x, and an autoencoder."""
    folder = tmp_path_factory.mktemp("convolutions") / "unet"
    export(network("unet", linear_projection=False), folder)
    arrays = {}
    for prefix, source in ((UNET, folder), ("first_stage_model.", small / "autoencoder")):
        file = next(source.glob("*.safetensors"))
        arrays |= {prefix + key: array for key, array in load_file(file).items()}
    return arrays


@pytest.fixture
def single(networks, tmp_path):
    """Writer of one file of both networks, whatever else stands beside them."""

    def write(others=None, metadata=None):
        file = tmp_path / "model.safetensors"
        save_file(networks | (others or {}), file, metadata=metadata)
        return file

    return write


EMPTY, ZERO = np.zeros(0, np.float32), np.zeros((), np.float32)


def number(value):
    return np.array(value, np.float32)


TOLD = {
    "nothing": ({}, {}, None),
    "an empty marker": ({"v_pred": EMPTY}, {}, {"target": "v"}),
    "a marker with a value": ({"v_pred": ZERO}, {}, {"target": "v"}),
    "two": ({"v_pred": EMPTY, "ztsnr": EMPTY}, {}, {"target": "v", "zero_terminal_snr": True}),
    "zero terminal SNR alone": ({"ztsnr": EMPTY}, {}, {"zero_terminal_snr": True}),
    "continuous levels": (
        {"edm_vpred.sigma_max": number(80), "edm_vpred.sigma_min": number(0.5)},
        {},
        {"target": "v", "schedule": {"kind": "edm", "sigma_max": 80.0, "sigma_min": 0.5}},
    ),
    "continuous levels without values": (
        {"edm_vpred.sigma_max": EMPTY},
        {},
        {"target": "v", "schedule": {"kind": "edm"}},
    ),
    "ComfyUI's": ({}, {"modelspec.predict_key": "epsilon"}, {"target": "epsilon"}),
    "the specification's": ({}, {"modelspec.prediction_type": "v"}, {"target": "v"}),
    "in other words": ({}, {"modelspec.prediction_type": "V_Prediction"}, {"target": "v"}),
    "an architecture": (
        {},
        {"modelspec.architecture": "stable-diffusion-v2-768-v"},
        {"target": "v"},
    ),
    "an architecture of either": ({}, {"modelspec.architecture": "stable-diffusion-v1"}, None),
    "all at once": (
        {"v_pred": EMPTY},
        {"modelspec.predict_key": "v", "modelspec.prediction_type": "v"},
        {"target": "v"},
    ),
    "a contradiction": ({"v_pred": EMPTY}, {"modelspec.prediction_type": "epsilon"}, None),
    "another target": ({}, {"modelspec.prediction_type": "flow"}, None),
}


@pytest.mark.slow
@pytest.mark.parametrize(("others", "metadata", "told"), TOLD.values(), ids=TOLD)
def test_what_a_file_says_of_its_diffusion(single, others, metadata, told):
    file = single(others, {"format": "pt", **metadata})
    found = find(str(file))
    assert set(found) == {"unet", "vae"}
    assert found["unet"].meta.get("diffusion") == told
    assert "diffusion" not in found["vae"].meta


def test_markers_beside_a_u_net_in_the_layout_of_diffusers(weights):
    file = weights("unet")
    change_tensors(file, lambda arrays: arrays.update(v_pred=EMPTY))
    assert find(str(file))["unet"].meta["diffusion"] == {"target": "v"}


def imported(capsys, *argv):
    """(exit code, what the command prints, its error) of an import."""
    code = main(["convert", "import", *map(str, argv)])
    return code, *capsys.readouterr()


def test_a_file_that_says_nothing_is_told_by_its_user(single, tmp_path, capsys):
    file = single()
    _, out, _ = imported(capsys, file, "--out", tmp_path / "in")
    assert f"note: {file} does not say whether its U-Net predicts epsilon or v" in out
    assert "--diffusion epsilon" in out and "--diffusion v" in out
    assert "diffusion" not in read_meta(tmp_path / "in" / "unet.safetensors")
    _, out, _ = imported(capsys, file, "--diffusion", "v", "--out", tmp_path / "told")
    assert "note" not in out
    assert read_meta(tmp_path / "told" / "unet.safetensors")["diffusion"] == {"target": "v"}
    assert "diffusion" not in read_meta(tmp_path / "told" / "autoencoder.safetensors")


def test_a_user_who_contradicts_a_file_is_told_so(single, tmp_path, capsys):
    file = single({"v_pred": EMPTY, "ztsnr": EMPTY})
    code, out, _ = imported(capsys, file, "--diffusion", "epsilon", "--out", tmp_path / "in")
    assert code == 0 and "note: " in out and "says itself that it predicts v" in out
    meta = read_meta(tmp_path / "in" / "unet.safetensors")
    assert meta["diffusion"] == {"target": "epsilon", "zero_terminal_snr": True}


def test_what_was_trained_on_no_diffusion_is_told_none(small, tmp_path, capsys):
    argv = (small / "text_encoder", "--diffusion", "v", "--out", tmp_path / "in")
    code, out, error = imported(capsys, *argv)
    assert (code, out) == (2, "")
    assert "--diffusion is for a U-Net or its temporal layers" in error
    assert "text_encoder" in error and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrapper",
    ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "_forward_module."],
)
def test_names_of_wrappers_are_left_out(small, weights, wrapper):
    file = weights("unet")
    shutil.copy(small / "unet" / file.name, file)
    arrays = load_file(file)
    save_file({wrapper + key: array for key, array in arrays.items()}, file)
    net = load(file.parent)
    assert paths.flatten(net.params).keys() == paths.flatten(load(small / "unet").params).keys()


def test_names_of_wrappers_inside_a_single_file(single):
    file = single()
    compiled = {key.replace(UNET, f"{UNET}_orig_mod."): a for key, a in load_file(file).items()}
    save_file(compiled, file)
    assert set(find(str(file))) == {"unet", "vae"}


def test_two_names_that_become_one_are_refused(weights):
    file = weights("unet")
    change_tensors(file, lambda arrays: arrays.update({"module.conv_in.bias": np.zeros(32)}))
    message = refusal(file.parent)
    assert "'conv_in.bias' and 'module.conv_in.bias'" in message and str(file) in message


FOREIGN = ["control_model.input_blocks.0.0.weight", "image_proj.latents", "embedders.1.weight"]


@pytest.mark.parametrize("key", FOREIGN)
def test_one_part_is_read_whatever_else_is_in_the_file(single, key):
    file = single({key: np.zeros((4, 4), np.float32)})
    assert load(file, "unet").kind == "unet"
    assert load(file, "autoencoder").kind == "autoencoder"
    message = refusal(file)
    assert repr(key) in message and str(file) in message


def test_a_foreign_network_says_how_to_take_the_others(single):
    message = refusal(single({"embedders.1.weight": EMPTY}))
    assert "take what you need alone, with --part (vae, unet)" in message


def test_a_part_that_is_foreign_itself_is_refused(single):
    file = single({f"{UNET}lora_A.weight": np.zeros((4, 4), np.float32)})
    assert "is a LoRA" in refusal(file, "unet")


def test_fields_are_of_one_network(single, small, tmp_path, capsys):
    file = single()
    message = refusal(file, fields={"heads": 4})
    assert "fields (--fields) are of one network" in message
    assert "vae, unet" in message and "--part" in message
    assert load(file, "unet", fields={"heads": 4}).fields["heads"] == 4
    for kind in ("unet", "vae"):
        shutil.copytree(small / {"vae": "autoencoder"}.get(kind, kind), tmp_path / "p" / kind)
    (tmp_path / "p" / "model_index.json").write_text("{}")
    argv = (tmp_path / "p", "--fields", '{"heads": 4}', "--out", tmp_path / "in")
    code, _, error = imported(capsys, *argv)
    assert code == 2 and "--part" in error
    assert load(tmp_path / "p", "unet", fields={"heads": 4}).fields["heads"] == 4


def test_our_own_files_take_no_fields(small, tmp_path, capsys):
    imported(capsys, small / "unet", "--out", tmp_path / "in")
    message = refusal(tmp_path / "in" / "unet.safetensors", fields={"heads": 4})
    assert "tells all its fields" in message


# What diffusers' EMAModel.save_pretrained adds to the config.
AVERAGE = {
    "decay": 0.9999,
    "inv_gamma": 1.0,
    "min_decay": 0.0,
    "optimization_step": 1,
    "power": 2 / 3,
    "update_after_step": 0,
    "use_ema_warmup": False,
}


@pytest.fixture
def training(small, tmp_path):
    """A checkpoint of diffusers' training scripts: no index, the U-Net and its average."""
    for name, bias in (("unet", 1.0), ("unet_ema", 2.0)):
        file = shutil.copytree(small / "unet", tmp_path / "run" / name)
        file = next(file.glob("*.safetensors"))
        change_tensors(file, lambda arrays, b=bias: arrays["conv_in.bias"].fill(b))
    change_config(file, **AVERAGE)
    (tmp_path / "run" / "random_states_0.pkl").write_bytes(b"\x80\x04.")
    return tmp_path / "run"


def test_the_average_of_a_training_is_a_network_by_itself(training):
    config = json.loads((training / "unet_ema" / "config.json").read_text())
    assert config.keys() >= AVERAGE.keys()
    assert (load(training / "unet_ema").params["conv_in"]["bias"] == 2.0).all()


def test_a_folder_of_a_training_is_read_as_a_pipeline(training, small):
    assert (load(training, "unet").params["conv_in"]["bias"] == 1.0).all()
    assert (load(training, "unet", ema=True).params["conv_in"]["bias"] == 2.0).all()
    shutil.rmtree(training / "unet_ema")
    assert "has no moving average" in refusal(training, "unet", ema=True)


@pytest.mark.parametrize("text", ["config.json", "scheduler"])
def test_a_byte_order_mark_is_no_error(weights, tmp_path, text):
    file = weights("unet")
    config = file.with_name("config.json")
    config.write_bytes(b"\xef\xbb\xbf" + config.read_bytes())
    if text == "scheduler":
        folder = tmp_path / "scheduler"
        folder.mkdir()
        given = {"_class_name": "DDIMScheduler", "prediction_type": "v_prediction"}
        path = folder / "scheduler_config.json"
        path.write_bytes(b"\xef\xbb\xbf" + json.dumps(given).encode())
        assert find(str(file.parent))["unet"].meta["diffusion"]["target"] == "v"
    assert load(file.parent).kind == "unet"


def test_layers_of_others_say_that_they_need_a_backbone(small, tmp_path, capsys):
    _, out, _ = imported(capsys, small / "unet", "--diffusion", "epsilon", "--out", tmp_path / "u")
    assert "note" not in out
    _, out, _ = imported(capsys, small / "temporal", "--out", tmp_path / "alone")
    assert "note: " in out and "--onto UNET.safetensors" in out
    onto = ("--onto", tmp_path / "u" / "unet.safetensors")
    _, out, _ = imported(capsys, small / "temporal", *onto, "--out", tmp_path / "onto")
    assert "note" not in out


def test_a_token_without_an_embedding_is_refused(small):
    net = load(small / "text_encoder")
    assert np.isfinite(net(np.full((1, 7), 49))).all()
    with pytest.raises(InputError, match="got the token 50, it has embeddings for 0 to 49"):
        net(np.full((1, 7), 50))
