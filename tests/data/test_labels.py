import json

import numpy as np
import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.data.labels import read_labels


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("a.mp4", "sub/b.mp4"):
        (tmp_path / name).touch()
    return tmp_path


def write(folder, **content):
    (folder / "labels.json").write_text(json.dumps(content))


def test_values_and_unknown(folder):
    write(folder, names=["night", "cars"], clips={"a.mp4": [True, 3], "sub/b.mp4": [0.5, None]})
    names, labels, spare = read_labels(folder)
    assert names == ("night", "cars")
    assert spare == ()
    np.testing.assert_array_equal(list(labels), ["a.mp4", "sub/b.mp4"])
    np.testing.assert_array_equal(list(labels.values()), [[1, 3], [0.5, np.nan]])


def test_a_byte_order_mark_is_no_part_of_it(folder):
    content = {"names": ["Ölspur"], "clips": {"a.mp4": [1]}}
    (folder / "labels.json").write_text(json.dumps(content, ensure_ascii=False), "utf-8-sig")
    assert read_labels(folder) == (("Ölspur",), {"a.mp4": (1.0,)}, ())


def test_a_name_is_the_one_that_the_scan_gives(folder):
    write(folder, names=["n"], clips={"./a.mp4": [1], "sub//b.mp4": [2]})
    assert read_labels(folder).values == {"a.mp4": (1,), "sub/b.mp4": (2,)}


def test_without_a_file_there_are_none(folder):
    assert read_labels(folder) == ((), {}, ())


@pytest.mark.parametrize(
    "content, message",
    [
        ("{", "not a table of labels .not JSON"),
        ("[1]", r"not a table of labels .it must be an object"),
        ("[" * 10**5, "nested too deeply"),
        ('{"names": ["a"]}', "lacks 'names' or 'clips'"),
        ('{"names": "a", "clips": {}}', "'names' must be a list of text"),
        ('{"names": [1], "clips": {}}', "'names' must be a list of text"),
        ('{"names": ["a\\nb"], "clips": {}}', "'names' must be a list of text"),
        ('{"names": ["\\ud800"], "clips": {}}', "'names' must be a list of text"),
        ('{"names": ["a", "a"], "clips": {}}', "'names' has a name twice"),
        ('{"names": ["a"], "clips": [1]}', "'clips' must be a table"),
        ('{"names": ["a"], "clips": {"a.mp4": 1}}', "'a.mp4' must have 1 numbers or null"),
        ('{"names": ["a"], "clips": {"a.mp4": [1, 2]}}', "must have 1 numbers or null"),
        ('{"names": ["a"], "clips": {"a.mp4": ["x"]}}', "must have 1 numbers or null"),
        ('{"names": ["a"], "clips": {"a.mp4": [[1]]}}', "must have 1 numbers or null"),
        ('{"names": ["a"], "clips": {"a.mp4": [NaN]}}', "NaN is no number of JSON"),
        ('{"names": ["a"], "clips": {"a.mp4": [1e39]}}', "'a.mp4' has a number beyond float32"),
        ('{"names": ["a"], "clips": {"a.mp4": [' + "9" * 60 + "]}}", "a number beyond float32"),
        ('{"names": ["a"], "clips": {"a.mp4": [' + "9" * 5000 + "]}}", "out of range"),
        ('{"names": ["a"], "clips": {"gone.mp4": [1]}}', "names 'gone.mp4', which is not in the"),
        ('{"names": ["a"], "clips": {"sub": [1]}}', "names 'sub', which is not in the"),
        ('{"names": ["a"], "clips": {"../a.mp4": [1]}}', "'../a.mp4' leads out of the folder"),
        ('{"names": ["a"], "clips": {"/a.mp4": [1]}}', "'/a.mp4' leads out of the folder"),
        ('{"names": ["a"], "clips": {"' + "x" * 5000 + '": [1]}}', "which is not in the folder"),
        ('{"names": ["a"], "clips": {"a\\u0000": [1]}}', "which is not in the folder"),
        ('{"names": ["a"], "clips": {"a.mp4": [1], "./a.mp4": [2]}}', "one video in two ways"),
        ('{"names": ["a"], "clips": {"a.mp4": [1], "a.mp4": [2]}}', "'a.mp4' stands there twice"),
    ],
)
def test_bad_labels_are_one_clear_line(folder, content, message):
    (folder / "labels.json").write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        read_labels(folder)
    assert str(folder / "labels.json") in str(caught.value) and "\n" not in str(caught.value)


def test_entries_without_a_video_are_said_and_passed_over(folder):
    clips = {"a.mp4": [1], "gone.mp4": [2], "lost.mp4": [3], "sub": [4], "x" * 5000: [5]}
    write(folder, names=["n"], clips=clips)
    labels = read_labels(folder)
    assert labels.values == {"a.mp4": (1,)} and len(labels.spare) == 4
    write(folder, names=["n"], clips={"a.mp4": [1], "gone.mp4": [2]})
    assert read_labels(folder).remark == "labels.json has 1 entry without a video: gone.mp4"
    write(folder, names=["n"], clips={"a.mp4": [1]})
    assert read_labels(folder).remark == ""


def test_labels_that_cannot_be_read_are_not_taken_for_none(folder):
    (folder / "labels.json").symlink_to(folder / "gone.json")
    with pytest.raises(InputError, match="labels.json: no such file"):
        read_labels(folder)
