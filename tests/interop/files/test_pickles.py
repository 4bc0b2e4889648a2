"""PyTorch files give tensors or one line; whatever else a pickle could do, it does not."""

import argparse
import collections
import datetime
import os
import pathlib
import pickle
import resource
import sys
import types
import zipfile

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


def left_beside():
    """What trainers leave beside the weights: numbers of NumPy, settings, tables with a default."""
    return {
        "best": np.float64(0.5),
        "step": np.int64(3),
        "done": np.bool_(True),
        "curve": np.arange(3.0),
        "dtype": np.dtype("float16"),
        "random": np.random.RandomState(0),
        "args": argparse.Namespace(lr=1e-4, out=pathlib.Path("runs")),
        "counts": collections.defaultdict(list, a=[1]),
        "when": datetime.datetime(2024, 1, 2),
    }


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
@pytest.mark.parametrize("name", left_beside())
def test_what_training_left_beside_the_weights_is_not_looked_at(arrays, tmp_path, zipped, name):
    table = {key: torch.from_numpy(array) for key, array in arrays.items()}
    content = {"state_dict": table, name: left_beside()[name]}
    torch.save(content, tmp_path / "model.ckpt", _use_new_zipfile_serialization=zipped)
    assert load(tmp_path / "model.ckpt").kind == "text_encoder"


def test_safetensors_under_the_name_of_a_pickle_are_read(tmp_path):
    file = small_files.write("text_encoder", tmp_path / "folder")
    assert load(file.rename(tmp_path / "model.ckpt")).kind == "text_encoder"


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


def holds_itself(file):
    table = {"w": torch.zeros(2)}
    table["table"] = table
    torch.save(table, file)


def is_its_own_state(file):
    table = {"w": torch.zeros(2)}
    table["state_dict"] = table
    torch.save(table, file)


def doubled_sixty_times(file):
    table = {"w": torch.zeros(2)}
    for _ in range(60):
        table = {"a": table, "b": table}
    torch.save(table, file)


def compressed(file):
    torch.save({"w": torch.zeros(1_000_000)}, file)
    with zipfile.ZipFile(file) as whole:
        entries = {entry.filename: whole.read(entry) for entry in whole.infolist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def repeated(file):
    torch.save({"w": torch.zeros(1).expand(1 << 33)}, file)


def repeated_before(file):
    torch.save({"w": torch.zeros(1).expand(1 << 33)}, file, _use_new_zipfile_serialization=False)


class Endless:
    def __reduce__(self):
        return bytearray, (1 << 40,)


def endless_memory(file):
    torch.save({"w": torch.zeros(2), "other": Endless()}, file)


def endless_instructions(file):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model/data.pkl", b"\x80\x02" + b"]" * 600_000 + b".")


TOO_LARGE = {
    holds_itself: "holds tables in tables, more than 64 deep",
    is_its_own_state: "holds tables in tables, more than 64 deep",
    doubled_sixty_times: "holds more than 131,072 names, tables in tables",
    compressed: "(its archive is compressed, which PyTorch's are not)",
    repeated: "'w' of shape (8589934592,) repeats the few values that the file holds of it",
    repeated_before: "'w' of shape (8589934592,) repeats the few values that the file holds of it",
    endless_memory: "(it asks for builtins.bytearray)",
    endless_instructions: "(its pickle has more than 524,288 instructions)",
}


@pytest.mark.parametrize("write", TOO_LARGE, ids=lambda write: write.__name__)
def test_a_file_that_is_larger_inside_than_outside_is_named(tmp_path, write):
    file = tmp_path / "model.ckpt"
    write(file)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError) as caught:
        load(file)
    assert str(caught.value).startswith(str(file)) and TOO_LARGE[write] in str(caught.value)
    assert "\n" not in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kilobytes


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
