"""Weights that are no numbers are counted, named and refused, unless they are asked for."""

import json

import ml_dtypes
import numpy as np
import pytest
import small_files
from safetensors.numpy import load_file
from small_files import change_tensors

from vldm_jax.cli.main import main
from vldm_jax.interop import load, save
from vldm_jax.interop.finite import not_finite

KEY = "text_model.encoder.layers.0.mlp.fc1.weight"


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16])
def test_every_kind_is_counted_in_every_type(dtype):
    array = np.ones((3, 5), dtype)
    array[0, 0], array[1, 2], array[2, 4] = np.nan, np.inf, -np.inf
    tree = {"a": {"b": array, "c": np.ones(2, dtype)}, "d": np.arange(3)}
    assert not_finite(tree) == {"a/b": 3}
    assert not_finite({"largest": np.full(2, ml_dtypes.finfo(dtype).max, dtype)}) == {}


def damage(arrays):
    arrays[KEY][0, :2] = np.nan
    arrays[KEY.replace("weight", "bias")][0] = np.inf


def run(capsys, *argv):
    code = main(["convert", *map(str, argv)])
    return code, *capsys.readouterr()


def test_an_import_refuses_them_and_takes_them_when_told(weights, tmp_path, capsys):
    file = weights("text_encoder")
    change_tensors(file, damage)
    code, out, error = run(capsys, "import", file.parent, "--out", tmp_path / "in")
    assert (code, out) == (2, "") and not (tmp_path / "in").exists()
    line = f"{file}: 3 values in 2 of its tensors are NaN or infinite, first in '{KEY[:-6]}bias'"
    assert line in error and "--non-finite" in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == [file.parent]
    code, out, _ = run(capsys, "import", file.parent, "--non-finite", "--out", tmp_path / "in")
    assert code == 0 and f"note: {line}" in out
    kernel = load_file(tmp_path / "in" / "text_encoder.safetensors")[
        "encoder/layers_0/mlp/fc1/kernel"
    ]
    assert np.isnan(kernel).sum() == 2


def test_an_export_refuses_them_and_takes_them_when_told(tmp_path, capsys):
    net = small_files.network("text_encoder")
    net.params["encoder"]["layers_0"]["mlp"]["fc1"]["bias"][3] = np.inf
    file = tmp_path / "text_encoder.safetensors"
    save(net, file)
    for to in ("diffusers", "weights", "program"):
        code, out, error = run(capsys, "export", file, "--to", to, "--out", tmp_path / to)
        assert (code, out) == (2, "") and not (tmp_path / to).exists()
        assert "1 values in 1 of its tensors" in error and "encoder/layers_0/mlp/fc1/bias" in error
    argv = ("export", file, "--non-finite", "--out", tmp_path / "out")
    code, out, _ = run(capsys, *argv)
    assert code == 0 and "note: " in out and json.loads((tmp_path / "out/config.json").read_text())
    assert np.isinf(load(tmp_path / "out").params["encoder"]["layers_0"]["mlp"]["fc1"]["bias"][3])


def test_a_backbone_is_looked_at_too(tmp_path, capsys):
    video = small_files.network("video_unet")
    save(small_files.temporal_of(video), tmp_path / "temporal.safetensors")
    unet = small_files.network("unet")
    unet.params["conv_in"]["bias"][0] = np.nan
    save(unet, tmp_path / "unet.safetensors")
    argv = ("export", tmp_path / "temporal.safetensors", "--onto", tmp_path / "unet.safetensors")
    code, _, error = run(capsys, *argv, "--out", tmp_path / "out")
    assert code == 2 and "unet.safetensors: 1 values in 1 of its tensors" in error
