"""What `vldm inspect` says of a weights file: counted right for every type that a file may have."""

import json

import numpy as np
import pytest

from vldm_jax.checkpoint.inspect import describe
from vldm_jax.checkpoint.weights import save_weights
from vldm_jax.nn.mixer import mixes

META = {"kind": "temporal", "config": {}}
SIZES = {"I16": 2, "I8": 1, "U16": 2, "U32": 4, "U64": 8, "F8_E4M3": 1, "F8_E5M2": 1, "C64": 8}


@pytest.mark.parametrize("kind", SIZES)
def test_every_type_is_counted(tmp_path, kind):
    file, size = tmp_path / "a.safetensors", 6 * SIZES[kind]
    entry = {"dtype": kind, "shape": [2, 3], "data_offsets": [0, size]}
    header = json.dumps({"__metadata__": {"vldm": json.dumps(META)}, "a": entry}).encode()
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(size))
    words = describe(file, mixes).splitlines()[2].split()
    assert words == ["spatial", "1", "arrays", "6", "values", str(size), "bytes", kind]


def test_mixes_of_any_shape_are_shown(tmp_path):
    tree = {"temporal": {"mixer": {"logit": np.zeros((2, 2), np.float32)}}}
    save_weights(tmp_path / "a.safetensors", tree, META)
    assert "temporal  0.500 0.500 0.500 0.500" in describe(tmp_path / "a.safetensors", mixes)
