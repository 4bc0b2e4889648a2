import json
import os

import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.core.json_files import MAX_DEPTH, parse_json, read_json


def read(path, **options):
    return read_json(path, "a table", remedy="write it again", **options)


def test_utf_8_is_read_with_and_without_a_byte_order_mark(tmp_path):
    content = {"name": "Zürich", "values": [1, 2.5, None, True]}
    for mark in (b"", b"\xef\xbb\xbf"):
        path = tmp_path / "a.json"
        path.write_bytes(mark + json.dumps(content, ensure_ascii=False).encode())
        assert read(path) == content


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not JSON: Expecting value"),
        (b'{"a": 1', "not JSON: .*line 1 column"),
        (b'{"a": "\xff"}', "not JSON: .*can't decode"),
        ('{"a": 1}'.encode("utf-16"), "not JSON: .*can't decode"),
        (b'{"a": NaN}', "NaN is no number"),
        (b'{"a": -Infinity}', "-Infinity is no number"),
        (b'{"a": 1e999}', "out of range"),
        (b'{"a": ' + b"9" * 5000 + b"}", "a number of 5000 characters is out of range"),
        (b"[1]", r"it must be an object \{\.\.\.\}"),
        (b"3", r"it must be an object \{\.\.\.\}"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"a": ' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}", "nested too deeply"),
    ],
)
def test_what_is_not_json_is_refused_in_one_line(tmp_path, content, reason):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.json: not a table \(.*{reason}.*write it") as error:
        read(path)
    assert "\n" not in str(error.value)


def test_the_deepest_that_is_allowed_is_read():
    text = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert json.dumps(parse_json(text, "here", "a list", kind=list)) == text


def test_integers_fit_into_64_bits():
    text = f'{{"a": {2**63 - 1}, "b": {-(2**63)}, "c": {10**30}}}'
    assert parse_json(text, "here", "a table") == {"a": 2**63 - 1, "b": -(2**63), "c": 1e30}
    assert isinstance(parse_json(text, "here", "a table")["c"], float)


def test_no_more_than_the_bound_is_read(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"{}" + b" " * 998)
    assert read(path, max_bytes=1000) == {}
    with pytest.raises(InputError, match="not a table .larger than"):
        read(path, max_bytes=999)
    with path.open("r+b") as file:
        file.truncate(1 << 40)  # a hole of a terabyte costs nothing on the disk
    with pytest.raises(InputError, match="not a table .larger than 32 MiB"):
        read(path)


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")  # reading one would wait for ever
    for path in (tmp_path, tmp_path / "absent", tmp_path / "pipe"):
        with pytest.raises(InputError, match=f"{path}: no such file, expected a table: write it"):
            read(path)


def test_a_key_that_stands_there_twice_is_refused_where_asked(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"clips": {"a.mp4": 1, "b.mp4": 2, "a.mp4": 3}}')
    assert read(path)["clips"]["a.mp4"] == 3
    with pytest.raises(InputError, match="'a.mp4' stands there twice"):
        read(path, unique_keys=True)
