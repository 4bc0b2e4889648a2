"""Tensors in files are the arrays that were stored, and views of them are NumPy's."""

import json
import math
import struct

import hypothesis
import ml_dtypes
import numpy as np
import pytest
from hypothesis import strategies as st
from safetensors.numpy import save, save_file

from vldm_jax.core.errors import InputError
from vldm_jax.interop.files.archives import open_archive


def name_in_file(dtype):
    """The format's name of a type: what its own library writes into a header."""
    raw = save({"x": np.zeros(1, dtype)})
    (size,) = struct.unpack("<Q", raw[:8])
    return json.loads(raw[8 : 8 + size])["x"]["dtype"]


FLOATS = ("float64", "float32", "float16", ml_dtypes.bfloat16)
FLOATS8 = (ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2)
OTHERS = ("int64", "int32", "int16", "int8", "uint8", "bool")
DTYPES = {name_in_file(dtype): np.dtype(dtype) for dtype in (*FLOATS, *FLOATS8, *OTHERS)}
properties = hypothesis.settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
SHAPES = st.lists(st.integers(1, 5), max_size=4).map(tuple)


def write_file(path, *entries):
    """Write a safetensors file by hand: (key, its dtype, array) in this order."""
    header, data = {}, b""
    for key, dtype, array in entries:
        raw = array.tobytes()
        offsets = [len(data), len(data) + len(raw)]
        header[key] = {"dtype": dtype, "shape": array.shape, "data_offsets": offsets}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def stored(tmp_path, array):
    """The array behind another one of odd size, so that it starts at no round offset."""
    first = ("a", "U8", np.zeros(3, np.uint8))
    path = write_file(tmp_path / "a.safetensors", first, ("b", "F32", array))
    return open_archive(path).tensors["b"]


def numbers(shape):
    return np.arange(math.prod(shape), dtype=np.float32).reshape(shape) - 3


def a_slice(draw, size):
    """One of all kinds of slices without a step, empty and open ones included."""
    bound = st.none() | st.integers(-size - 1, size + 1)
    return slice(draw(bound), draw(bound))


def check(draw, view, expected):
    """A view is this array, and reading a part of it is a part of the array."""
    assert view.shape == expected.shape and view.dtype == expected.dtype
    np.testing.assert_array_equal(view.array(), expected)
    index = tuple(a_slice(draw, size) for size in view.shape)
    part = view.read(index)
    assert part.shape == expected[index].shape
    np.testing.assert_array_equal(part, expected[index])


@properties
@hypothesis.given(SHAPES, st.data())
def test_a_view_reads_as_numpy_slices(tmp_path, shape, data):
    array = numbers(shape)
    check(data.draw, stored(tmp_path, array), array)


@properties
@hypothesis.given(SHAPES, st.data())
def test_transposed(tmp_path, shape, data):
    array = numbers(shape)
    axes = tuple(data.draw(st.permutations(range(len(shape)))))
    check(data.draw, stored(tmp_path, array).transpose(axes), array.transpose(axes))


@properties
@hypothesis.given(SHAPES, st.data())
def test_with_unit_axes(tmp_path, shape, data):
    array = numbers(shape)
    other = [size for size in shape if size != 1]
    for _ in range(data.draw(st.integers(0, 3))):
        other.insert(data.draw(st.integers(0, len(other))), 1)
    check(data.draw, stored(tmp_path, array).with_unit_axes(tuple(other)), array.reshape(other))


@properties
@hypothesis.given(SHAPES.filter(len), st.data())
def test_rows(tmp_path, shape, data):
    array = numbers(shape)
    start = data.draw(st.integers(0, shape[0] - 1))
    stop = data.draw(st.integers(start + 1, shape[0]))
    check(data.draw, stored(tmp_path, array).rows(start, stop), array[start:stop])


@properties
@hypothesis.given(SHAPES, st.data())
def test_negative(tmp_path, shape, data):
    array = numbers(shape)
    check(data.draw, stored(tmp_path, array).negative(), -array)


@properties
@hypothesis.given(SHAPES.filter(len), st.data())
def test_views_of_views(tmp_path, shape, data):
    """The chain that a joined, transposed, convolutional kernel is read through."""
    array = numbers((2 * shape[0], *shape[1:]))
    axes = tuple(data.draw(st.permutations(range(len(shape) + 1))))
    view = stored(tmp_path, array).rows(shape[0], 2 * shape[0]).negative()
    view = view.with_unit_axes((*shape, 1)).transpose(axes)
    check(data.draw, view, -array[shape[0] :].reshape(*shape, 1).transpose(axes))


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("shape", [(), (1,), (3, 5)])
def test_every_dtype_comes_as_stored(tmp_path, name, shape):
    draw = np.random.default_rng(0)
    array = draw.integers(0, 2, shape).astype(DTYPES[name])
    if name != "BOOL":
        array = np.asarray(draw.integers(-3, 9, shape)).astype(DTYPES[name])
    archive = open_archive(write_file(tmp_path / "a.safetensors", ("x", name, array)))
    assert archive.path == str(tmp_path / "a.safetensors") and list(archive.tensors) == ["x"]
    tensor = archive.tensors["x"]
    assert (tensor.file, tensor.key) == (archive.path, "x")
    assert tensor.shape == shape and tensor.dtype == DTYPES[name]
    assert tensor.array().dtype == DTYPES[name]
    assert tensor.array().tobytes() == array.tobytes()


@pytest.mark.parametrize("name", ["F8_E8M0", "C64", "U16", "F4"])
def test_other_dtypes_are_named(tmp_path, name):
    raw = np.zeros(8, np.uint8)
    shape = {"F8_E8M0": [8], "C64": [1], "U16": [4], "F4": [16]}[name]
    path = write_file(tmp_path / "a.safetensors", ("x", name, raw))
    text = path.read_bytes()[8:].replace(b'"shape": [8]', f'"shape": {shape}'.encode())
    path.write_bytes(struct.pack("<Q", len(text) - 8) + text)
    with pytest.raises(InputError, match=f"a.safetensors: 'x' has the type {name}, which cannot"):
        open_archive(path)


def test_more_axes_than_weights_have_are_named(tmp_path):
    """Axes of size 1 come and go between layouts, but NumPy has at most 64."""
    path = write_file(tmp_path / "a.safetensors", ("x", "F32", np.zeros(2, np.float32)))
    size = struct.unpack("<Q", path.read_bytes()[:8])[0]
    text = path.read_bytes()[8 : 8 + size].replace(b"[2]", str([2, *[1] * 64]).encode())
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
    with pytest.raises(InputError, match=r"a.safetensors: 'x' has 65 axes, weights have at most"):
        open_archive(path)


def test_an_empty_tensor_is_read_as_one(tmp_path):
    save_file({"v_pred": np.zeros((0, 3), np.float32)}, tmp_path / "a.safetensors")
    tensor = open_archive(tmp_path / "a.safetensors").tensors["v_pred"]
    assert tensor.shape == tensor.array().shape == (0, 3) and tensor.size == 0


@pytest.mark.parametrize(
    "name", ["a.safetensors", "a.safetensors.index.json", "a.ckpt", "a.bin", "a.pt"]
)
def test_a_pointer_of_git_lfs_says_how_to_get_the_file(tmp_path, name):
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:5a3c\nsize 3438354725\n"
    (tmp_path / name).write_text(text)
    with pytest.raises(
        InputError, match=rf"{name} is a Git LFS pointer, .* git lfs pull"
    ) as caught:
        open_archive(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_header_larger_than_any_is_not_read(tmp_path):
    path = tmp_path / "a.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 40 << 20) + b"{")
        file.truncate(50 << 20)
    with pytest.raises(InputError, match="is no whole safetensors file .header too large, 4194"):
        open_archive(path)


def test_metadata_is_kept_apart(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"x": np.zeros(2, np.float32)}, path, metadata={"format": "pt"})
    archive = open_archive(path)
    assert archive.metadata == {"format": "pt"} and list(archive.tensors) == ["x"]


@pytest.mark.parametrize("name", ["m.safetensors.index.json", "m.safetensors.index.fp16.json"])
def test_an_index_is_one_archive(tmp_path, name):
    x, y = numbers((2, 3)), numbers((4,))
    write_index(tmp_path / name, {"x": "1.safetensors", "y": "2.safetensors"})
    save_file({"x": x}, tmp_path / "1.safetensors")
    save_file({"y": y}, tmp_path / "2.safetensors")
    archive = open_archive(tmp_path / name)
    assert archive.path == str(tmp_path / name)
    np.testing.assert_array_equal(archive.tensors["x"].array(), x)
    np.testing.assert_array_equal(archive.tensors["y"].array(), y)
    assert archive.tensors["y"].file == str(tmp_path / "2.safetensors")


def write_index(path, table):
    path.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": table}))


LIES = {
    "a missing file": (
        {"x": "1.safetensors", "y": "3.safetensors"},
        r"'3\.safetensors', which is no \.safetensors file",
    ),
    "a missing key": (
        {"x": "1.safetensors", "y": "1.safetensors"},
        r"'y' is in 1\.safetensors, which has no such tensor",
    ),
    "a key elsewhere": ({"x": "1.safetensors", "y": "2.safetensors"}, r"holds 'z', which m\."),
    "an upper folder": ({"x": "../1.safetensors"}, r"'\.\./1\.safetensors', which is no"),
    "an absolute path": (
        {"x": "/etc/passwd"},
        r"'/etc/passwd', which is no \.safetensors file beside it",
    ),
    "the folder": ({"x": ".."}, r"'\.\.'"),
    "itself": ({"x": "m.safetensors.index.json"}, r"'m\.safetensors\.index\.json'"),
    "a pickle": ({"x": "1.ckpt"}, r"'1\.ckpt'"),
    "nothing": ({"x": ""}, r"''"),
    "numbers": ({"x": 3}, r"'weight_map'"),
    "lists": ({"x": ["1.safetensors"]}, r"'weight_map'"),
    "a name that no file has": ({"x": "a" * 9000 + ".safetensors"}, r"is no \.safetensors file"),
    "a byte that no name has": ({"x": "a\0.safetensors"}, r"is no \.safetensors file"),
    "no table": ([1], r"'weight_map'"),
    "no tensor": ({}, r"lists no tensors"),
}


@pytest.mark.parametrize(("table", "message"), LIES.values(), ids=LIES)
def test_an_index_that_lies_is_named(tmp_path, table, message):
    folder = tmp_path / "m"
    folder.mkdir()
    index = folder / "m.safetensors.index.json"
    write_index(index, table)
    for place in (folder, tmp_path):
        save_file({"x": numbers((2,))}, place / "1.safetensors")
    save_file({"y": numbers((2,)), "z": numbers((2,))}, folder / "2.safetensors")
    with pytest.raises(InputError, match=message) as caught:
        open_archive(index)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


NESTED = '{"weight_map":' * 100_000


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "{}", '{"weight_map": null}', "\xff", NESTED],
    ids=lambda text: text[:20],
)
def test_an_index_that_is_none_is_named(tmp_path, text):
    index = tmp_path / "m.safetensors.index.json"
    index.write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match="index.json: not an index of safetensors files") as caught:
        open_archive(index)
    assert "\n" not in str(caught.value)
