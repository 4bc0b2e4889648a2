"""PyTorch files give tensors or one line; whatever else a pickle could do, it does not."""

import os
import pickle
import sys
import types

import numpy as np
import pytest
import small_files
from safetensors.numpy import load_file

from vldm_jax.core.errors import InputError
from vldm_jax.interop import load

torch = pytest.importorskip("torch", reason="torch is not installed")


@pytest.fixture
def arrays(tmp_path):
    """A small text encoder's arrays, drawn."""
    draw = np.random.default_rng(0)
    zeros = load_file(small_files.write("text_encoder", tmp_path / "folder"))
    return {key: draw.random(array.shape, np.float32) for key, array in zeros.items()}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_tensors_come_as_stored(arrays, tmp_path, zipped, wrapped, dtype):
    table = {
        key: torch.from_numpy(array).to(getattr(torch, dtype)) for key, array in arrays.items()
    }
    content = {"state_dict": table, "epoch": 3, "callbacks": {"best": 0.5}} if wrapped else table
    file = tmp_path / "model.ckpt"
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    net = load(file)
    kernel = net.params["encoder"]["layers_0"]["mlp"]["fc1"]["kernel"]
    expected = table["text_model.encoder.layers.0.mlp.fc1.weight"].float().numpy().T
    assert kernel.dtype == dtype
    np.testing.assert_array_equal(np.asarray(kernel, np.float32), expected)


def test_a_training_may_have_left_its_callback(arrays, tmp_path, monkeypatch):
    """As in the original files of Stable Diffusion 1.x: a class is a key beside the weights."""
    name = "pytorch_lightning.callbacks.model_checkpoint"
    callback = type("ModelCheckpoint", (), {"__module__": name})
    table = {key: torch.from_numpy(array) for key, array in arrays.items()}
    content = {"state_dict": table, "callbacks": {callback: {"best_model_score": torch.ones(())}}}
    with monkeypatch.context() as patch:
        module = types.ModuleType(name)
        module.ModelCheckpoint = callback
        for parent in ("pytorch_lightning", "pytorch_lightning.callbacks"):
            patch.setitem(sys.modules, parent, types.ModuleType(parent))
        patch.setitem(sys.modules, name, module)
        torch.save(content, tmp_path / "model.ckpt")
    assert load(tmp_path / "model.ckpt").kind == "text_encoder"


class Malicious:
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.system, (f"touch {self.trace}",)


def plain(file, content):
    file.write_bytes(pickle.dumps(content, 2))  # PyTorch's protocol


def zipped(file, content):
    torch.save(content, file)


def legacy(file, content):
    torch.save(content, file, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("write", [plain, zipped, legacy])
@pytest.mark.parametrize("hidden", [True, False])
def test_code_in_a_pickle_never_runs(tmp_path, write, hidden):
    file, trace = tmp_path / "model.ckpt", tmp_path / "trace"
    evil = Malicious(trace)
    write(file, {"state_dict": {"a": evil, "w": torch.zeros(2)}} if hidden else evil)
    with pytest.raises(InputError) as caught:
        load(file)
    message = str(caught.value)
    assert message.startswith(f"{file} is no PyTorch file of tensors alone (it asks for ")
    assert ".system)" in message
    assert message.endswith("): it is not loaded; get the .safetensors of this model")
    assert "weights_only" not in message and "\n" not in message, "no advice to trust the file"
    assert not trace.exists()


def cut(file):
    torch.save({"w": torch.zeros(1000)}, file)
    file.write_bytes(file.read_bytes()[:-200])


DAMAGES = {
    "empty": lambda file: file.write_bytes(b""),
    "garbage": lambda file: file.write_bytes(b"garbage, no pickle"),
    "safetensors": lambda file: file.write_bytes(b"\x40" + bytes(7) + b"{" + b" " * 70),
    "cut": cut,
    "a zip": lambda file: file.write_bytes(b"PK\x05\x06" + bytes(18)),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_named(tmp_path, damage):
    file = tmp_path / "model.ckpt"
    damage(file)
    with pytest.raises(InputError) as caught:
        load(file)
    message = str(caught.value)
    assert message.startswith(f"{file} is no PyTorch file of tensors alone (")
    assert "\n" not in message


CONTENTS = {
    "a list": ([torch.zeros(2)], "{file} holds no table of named tensors"),
    "a tensor": (torch.zeros(2), "{file} holds no table of named tensors"),
    "nothing": ({}, "{file} holds no tensors"),
    "numbers": ({"a": 1, "b": {"c": 2.0}}, "{file} holds no tensors"),
    "numbered tensors": ({0: torch.zeros(2), "a": torch.zeros(2)}, "one of its keys is '0'"),
    "8 bits": ({"w": torch.zeros(2).to(torch.float8_e4m3fn)}, "{file}: 'w' has the type torch.fl"),
    "a sparse tensor": ({"w": torch.zeros(2, 2).to_sparse()}, "{file}: 'w' has the type torch.fl"),
    "a textual inversion": (
        {"string_to_token": {"*": 265}, "string_to_param": {"*": torch.zeros(1, 4)}},
        "{file} is a textual inversion ('string_to_param.*')",
    ),
    "an IP-Adapter": (
        {"image_proj": {"proj.weight": torch.zeros(4)}, "ip_adapter": {"1.w": torch.zeros(4)}},
        "{file} is an IP-Adapter ('image_proj.proj.weight')",
    ),
}


@pytest.mark.parametrize(("content", "message"), CONTENTS.values(), ids=CONTENTS)
def test_other_contents_are_named(tmp_path, content, message):
    file = tmp_path / "model.bin"
    torch.save(content, file)
    with pytest.raises(InputError) as caught:
        load(file)
    assert message.format(file=file) in str(caught.value)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)
