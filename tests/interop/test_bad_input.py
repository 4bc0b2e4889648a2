"""What cannot be loaded is told in one line that names file and key; nothing is written.

Every case goes through `load` and through `vldm convert import`.
"""

import os
import pickle
import re
import sys

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file
from small_files import change_header, change_tensors

from vldm_jax.cli.main import main
from vldm_jax.core.errors import InputError
from vldm_jax.interop import load

FC1 = "text_model.encoder.layers.0.mlp.fc1.weight"
FC2 = "text_model.encoder.layers.0.mlp.fc2.weight"
NORM = "text_model.final_layer_norm.weight"
DAMAGED = r"{file} is no whole safetensors file \(.*{detail}.*\): fetch or write it again"


def names_under(folder):
    return sorted(str(path) for path in folder.rglob("*"))


def assert_refused(tmp_path, capsys, path, pattern):
    """`load` and the command line refuse a path with one line each, and write nothing."""
    before = names_under(tmp_path)
    with pytest.raises(InputError) as caught:
        load(path)
    message = str(caught.value)
    assert re.fullmatch(pattern, message), message
    assert "\n" not in message and len(message) < 600
    assert main(["convert", "import", str(path), "--out", str(tmp_path / "out")]) == 2
    out, error = capsys.readouterr()
    # not the same line: of two damages the library of safetensors names now one, now the other
    assert out == "" and re.fullmatch(rf"vldm: error: (?:{pattern})\n", error), error
    assert names_under(tmp_path) == before


def cut(file, size):
    file.write_bytes(file.read_bytes()[:size])


def put(file, offset, data):
    raw = file.read_bytes()
    file.write_bytes(raw[:offset] + data + raw[offset + len(data) :])


def moved(header):
    start, end = header[NORM]["data_offsets"]
    header[NORM]["data_offsets"] = [start + 4, end + 4]


def beyond(header):
    last = max(header, key=lambda key: header[key].get("data_offsets", [0])[0])
    header[last]["data_offsets"][1] += 4


def one_twice(header):
    header[NORM]["data_offsets"] = header["text_model.final_layer_norm.bias"]["data_offsets"]


DAMAGES = {
    "empty": (lambda file: file.write_bytes(b""), "header too small"),
    "cut in the header's length": (lambda file: cut(file, 5), "header too small"),
    "cut in the header": (lambda file: cut(file, 100), "header"),
    "cut in the data": (lambda file: cut(file, -4), "not fully covered"),
    "longer than it says": (lambda file: file.write_bytes(file.read_bytes() + b"more"), "covered"),
    "a huge header": (lambda file: put(file, 0, b"\xff" * 8), "header too large"),
    "a longer header": (lambda file: put(file, 0, (9000).to_bytes(8, "little")), "header"),
    "no header": (lambda file: put(file, 0, bytes(8)), "header"),
    "no JSON": (lambda file: put(file, 8, b"garbage"), "JSON in header"),
    "no UTF-8": (lambda file: put(file, 8, b"\xff\xfe"), "header"),
    "a list": (lambda file: change_header(file, lambda header: [1]), "JSON in header"),
    "moved offsets": (lambda file: change_header(file, moved), f"tensor `{NORM}`"),
    "offsets beyond the end": (lambda file: change_header(file, beyond), "see 'text_model"),
    "one place for two": (lambda file: change_header(file, one_twice), "tensor `"),
    "a dtype of another size": (
        lambda file: change_header(file, lambda header: header[FC1].update(dtype="F16")),
        f"see '{FC1}'",
    ),
    "a larger shape": (
        lambda file: change_header(file, lambda header: header[FC1].update(shape=[49, 32])),
        f"see '{FC1}'",
    ),
    "a negative shape": (
        lambda file: change_header(file, lambda header: header[FC1].update(shape=[-1, 32])),
        "-1",
    ),
    "an endless shape": (
        lambda file: change_header(file, lambda header: header[FC1].update(shape=[1 << 62] * 2)),
        "overflow",
    ),
    "a dtype that is none": (
        lambda file: change_header(file, lambda header: header[FC1].update(dtype="F33")),
        "F33",
    ),
    "a line break in a key": (
        lambda file: change_header(
            file, lambda header: header.update({"a\nb": {**header[NORM], "shape": [31]}})
        ),
        r"see 'a\\nb'",
    ),
}


@pytest.mark.parametrize(("damage", "detail"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file(weights, tmp_path, capsys, damage, detail):
    file = weights("text_encoder")
    damage(file)
    pattern = DAMAGED.format(file=file, detail=f"(?:{detail})")
    assert_refused(tmp_path, capsys, file, pattern)
    assert_refused(tmp_path, capsys, file.parent, pattern)


def with_array(key, make):
    return lambda arrays: arrays.update({key: make(arrays.get(key))})


def as_type(dtype):
    return with_array(FC1, lambda array: array.astype(dtype))


OF_TYPE = r"{file}: '%s' has the type %s; weights must be one of float32, float16, bfloat16"
TENSORS = {
    "transposed": (
        with_array(FC2, lambda array: np.ascontiguousarray(array.T)),
        rf"{{file}}: '{FC2}' has the shape \(48, 32\), its network needs \(32, 48\)",
    ),
    "another width": (
        with_array(NORM, lambda array: array[:-1].copy()),
        rf"{{file}}: '{NORM}' has the shape \(31,\), its network needs \(32,\)",
    ),
    "a scalar": (
        with_array(FC1, lambda _: np.zeros((), np.float32)),
        rf"{{file}}: '{FC1}' has the shape \(\)",
    ),
    "empty": (
        with_array(FC1, lambda array: array[:0]),
        rf"{{file}}: '{FC1}' is empty, its shape is \(0, 32\)",
    ),
    "int64": (as_type(np.int64), OF_TYPE % (FC1, "int64")),
    "float64": (as_type(np.float64), OF_TYPE % (FC1, "float64")),
    "float8": (as_type(ml_dtypes.float8_e4m3fn), OF_TYPE % (FC1, "float8_e4m3fn")),
    "missing": (
        lambda arrays: arrays.pop(FC1.replace("weight", "bias")),
        r"{file} lacks '\S*encoder\.layers\.0\.mlp\.fc1\.bias', which its network has",
    ),
    "several missing": (
        lambda arrays: [arrays.pop(key) for key in list(arrays) if "self_attn" in key],
        r"{file} lacks '\S*self_attn\.k_proj\.bias' and 7 more, which its network has",
    ),
    "extra": (
        with_array("text_model.extra.weight", lambda _: np.zeros(1, np.float32)),
        r"{file} holds 'text_model\.extra\.weight', which its network has not",
    ),
    "a line break in a key": (
        with_array("text_model.ex\ntra", lambda _: np.zeros(1, np.float32)),
        r"{file} holds 'text_model\.ex\\ntra', which its network has not",
    ),
    "nothing": (lambda arrays: arrays.clear(), r"{file} holds no tensors"),
}


@pytest.mark.parametrize(("change", "message"), TENSORS.values(), ids=TENSORS)
def test_tensors_that_do_not_fit(weights, tmp_path, capsys, change, message):
    file = weights("text_encoder")
    change_tensors(file, change)
    assert_refused(tmp_path, capsys, file, message.format(file=file))


ADAPTERS = {
    "a LoRA": [
        "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight",
        "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora.down.weight",
        "base_model.model.down_blocks.0.attentions.0.to_q.lora_A.weight",
        "base_model.model.mid_block.attentions.0.to_q.lora_B.default.weight",
        "lora_unet_down_blocks_0_attentions_0_proj_in.alpha",
        "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight",
        "lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_up.weight",
    ],
    "a ControlNet": [
        "controlnet_cond_embedding.conv_in.weight",
        "controlnet_down_blocks.0.weight",
        "control_model.input_blocks.0.0.weight",
        "control_model.zero_convs.0.0.weight",
    ],
    "a textual inversion": ["emb_params", "string_to_param.*"],
    "an IP-Adapter": ["image_proj.proj.weight", "ip_adapter.1.to_k_ip.weight"],
}


@pytest.mark.parametrize(
    ("what", "key"), [(what, key) for what, keys in ADAPTERS.items() for key in keys]
)
def test_what_goes_onto_a_model_is_no_model(tmp_path, capsys, what, key):
    file = tmp_path / "adapter.safetensors"
    save_file({key: np.zeros((4, 4), np.float32)}, file)
    pattern = rf"{file} is {what} \('{re.escape(key)}'\), not a whole model: give the model .*"
    assert_refused(tmp_path, capsys, file, pattern)


def test_a_part_of_a_model_that_is_known_by_nothing(tmp_path, capsys):
    file = tmp_path / "other.safetensors"
    save_file({"blocks.0.weight": np.zeros(4, np.float32)}, file)
    pattern = rf"{file} holds no U-Net, .* that are known; one of its keys is 'blocks\.0\.weight'"
    assert_refused(tmp_path, capsys, file, pattern)


class Malicious:
    """Its pickle makes a file when it is loaded freely."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.system, (f"touch {self.trace}",)


IS_PICKLE = r"{file} is a pickle \(a PyTorch file\), not safetensors: it is not read under .*"


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_under_another_name_never_runs(tmp_path, capsys, protocol):
    file, trace = tmp_path / "model.safetensors", tmp_path / "trace"
    file.write_bytes(pickle.dumps({"w": Malicious(trace)}, protocol))
    assert_refused(tmp_path, capsys, file, IS_PICKLE.format(file=file))
    assert not trace.exists()
    pickle.loads(file.read_bytes())
    assert trace.exists(), "the test's pickle does what is feared"


@pytest.mark.parametrize("suffix", [".ckpt", ".pt", ".pth", ".bin"])
def test_a_pickle_without_torch_says_how_to_convert(tmp_path, capsys, monkeypatch, suffix):
    file, trace = tmp_path / f"model{suffix}", tmp_path / "trace"
    file.write_bytes(pickle.dumps(Malicious(trace)))
    monkeypatch.setitem(sys.modules, "torch", None)
    pattern = rf"{file} is a pickle, .*: install torch, or convert it .*safetensors.*save_file.*"
    assert_refused(tmp_path, capsys, file, pattern)
    assert not trace.exists()
