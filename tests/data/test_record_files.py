"""Stored sets from elsewhere: old, damaged, incomplete, or made to harm."""

import json
import pickle
import random
import shutil
import subprocess
import sys

import numpy as np
import pytest
from synthetic_videos import scene
from tensorflow_datasets.proto import tf_example_pb2

from vldm_jax.core.errors import InputError
from vldm_jax.data.record_files import RecordFiles, read_metadata
from vldm_jax.data.record_source import records_source
from vldm_jax.data.records import build_records
from vldm_jax.data.write import write_video

SHARD = "video_records-train.array_record-00000-of-00001"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    (folder / "clips").mkdir()
    for number, name in enumerate("abc"):
        write_video(folder / "clips" / f"{name}.mp4", scene(number, 12), 15)
    labels = {"names": ["night", "cars"], "clips": {"a.mp4": [1, 4]}}
    (folder / "clips" / "labels.json").write_text(json.dumps(labels))
    build_records(folder / "clips", folder / "set", fps=15, height=32, width=64)
    return folder / "set"


@pytest.fixture
def stored(original, tmp_path):
    return shutil.copytree(original, tmp_path / "set")


def read_all(path):
    source = records_source(path, num_frames=4)
    return [source[key] for key in range(len(source))], [source.describe(0)]


def change_json(path, name, change):
    content = json.loads((path / name).read_text())
    change(content)
    (path / name).write_text(json.dumps(content))


def test_a_set_that_names_a_module_for_its_features_runs_none_of_it(stored):
    """tensorflow-datasets imports what features.json names; the module may lie beside the set."""
    (stored.parent / "evil.py").write_text("open('ran', 'w').write('yes')\n")

    def name_evil(content):
        content["featuresDict"]["features"]["name"]["pythonClassName"] = "evil.Evil"

    change_json(stored, "features.json", name_evil)
    code = (
        "from vldm_jax.data.record_source import records_source\n"
        "print(records_source('set', num_frames=4)[0]['video'].shape)"
    )
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = [''] + {sys.path!r}\n{code}"]
    done = subprocess.run(command, cwd=stored.parent, capture_output=True, text=True, check=False)
    assert done.stdout == "(4, 32, 64, 3)\n", done.stderr
    assert not (stored.parent / "ran").exists()


def test_sets_of_earlier_versions_load(original, stored):
    """Their description names modules that have moved since, and tells their features."""

    def move(content):
        content["moduleName"] = "vldm_jax.data.driving.builder"

    change_json(stored, "dataset_info.json", move)
    (new, _), (old, _) = read_all(original), read_all(stored)
    assert len(old) == len(new) > 0
    for a, b in zip(old, new, strict=True):
        np.testing.assert_array_equal(a["video"], b["video"])
    np.testing.assert_array_equal(old[0]["labels"], np.float32([1, 4]))
    assert np.isnan(old[-1]["labels"]).all()


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("fps", 0, "'fps' must be frames per second, got 0"),
        ("fps", "15", "'fps' must be frames per second, got '15'"),
        ("fps", True, "'fps' must be"),
        ("fps", 10**30, "'fps' must be"),
        ("height", 10**30, "'height' must be a number of pixels"),
        ("width", -64, "'width' must be a number of pixels, got -64"),
        ("width", 64.5, "'width' must be"),
        ("width", 62, "record 0 of 'train' is damaged .its frames are 32x64, not 32x62."),
        ("label_names", "night", "'label_names' must be a list of names"),
        ("label_names", [1, 2], "'label_names' must be"),
        ("label_names", ["a", "\ud800"], "'label_names' must be"),
        ("label_names", ["night"], "record 0 of 'train' is damaged .2 labels, not 1."),
        ("report", None, "'report' must be text, got None"),
        ("num_frames", [12, 12, 12], "'num_frames' must be lists of lengths"),
        ("num_frames", {"train": 3}, "'num_frames' must be lists of lengths"),
        ("num_frames", {"train": [12, 12, 0]}, "'num_frames' must be lists of lengths"),
        ("num_frames", {"train": [12, 12, 10**12]}, "'num_frames' must be lists of lengths"),
        ("num_frames", {"train": [2**20] * 3}, "cannot hold 3145728 frames in 131072 bytes"),
        ("num_frames", {"train": [12, 12]}, "holds 3 records where metadata.json lists 2"),
        ("num_frames", {"train": [12] * 4}, "holds 3 records where metadata.json lists 4"),
        ("num_frames", {"train": [14] * 3}, "record 0 of 'train' is damaged .12 frames"),
        ("num_frames", {"train": [12] * 3, "test": [12]}, None),
        ("num_frames", {}, "no clips in 'train', it has {}"),
        ("num_frames", ..., "lacks 'num_frames', so it is of no set of clips"),
        ("more", {"a": 1}, None),
    ],
)
def test_metadata_that_cannot_be_is_one_clear_line(stored, key, value, message):
    def change(content):
        content[key] = value
        if value is ...:
            del content[key]

    change_json(stored, "metadata.json", change)
    if message is None:
        assert read_all(stored)
        return
    with pytest.raises(InputError, match=message) as caught:
        read_all(stored)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 10**5, b'{"fps": NaN}'])
def test_metadata_that_is_no_table_is_one_clear_line(stored, content):
    (stored / "metadata.json").write_bytes(content)
    with pytest.raises(InputError, match="metadata.json: not the metadata of a stored set") as e:
        read_all(stored)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("name", ["features.json", "dataset_info.json"])
def test_what_else_lies_in_a_set_does_not_matter(original, stored, name):
    (stored / name).write_bytes(b"[" * 10**5)
    assert len(read_all(stored)[0]) == len(read_all(original)[0])


def test_a_shard_that_is_missing_is_named(stored):
    other = stored / "video_records-train.array_record-00000-of-00002"
    (stored / SHARD).rename(other)
    with pytest.raises(InputError, match="has 1 of 2 shards of 'train': copy the set again"):
        read_all(stored)
    other.unlink()
    with pytest.raises(InputError, match="has 0 of 0 shards of 'train'"):
        read_all(stored)


def test_damaged_shards_are_one_clear_line_or_do_not_matter(original, stored):
    whole = (original / SHARD).read_bytes()
    expected = read_all(original)[0]
    used = [index for index, byte in enumerate(whole) if byte]
    rng = random.Random(0)

    def flip(at):
        return whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :]

    damaged = [whole[:at] for at in (0, 1, 1000, 1 << 16, len(whole) - 1)]
    damaged += [b"x" * len(whole), whole[8:], whole + whole, b"\0" * len(whole)]
    damaged += [flip(rng.choice(used)) for _ in range(40)]
    refused = 0
    for content in damaged:
        (stored / SHARD).write_bytes(content)
        try:
            got = read_all(stored)[0]
        except InputError as error:
            refused += 1
            assert "\n" not in str(error) and "'train'" in str(error), error
            continue
        for a, b in zip(got, expected, strict=True):  # the bit was of no meaning
            np.testing.assert_array_equal(a["video"], b["video"])
            np.testing.assert_array_equal(a["labels"], b["labels"])
    assert refused > len(damaged) // 2


def example(**change):
    """A record as it is stored; a value of None leaves its feature out."""
    values = {"video": b"mp4", "labels": [1.0, 4.0], "name": b"a.mp4", "num_frames": 12, "ticks": 1}
    proto = tf_example_pb2.Example()
    for name, value in (values | change).items():
        feature = proto.features.feature[name]
        if isinstance(value, bytes):
            feature.bytes_list.value.append(value)
        elif isinstance(value, int):
            feature.int64_list.value.append(value)
        elif value is not None:
            feature.float_list.value.extend(value)
    return proto.SerializeToString()


@pytest.mark.parametrize(
    "content, message",
    [
        (b"\xff\xff", "not one of ours"),
        (b"", "not one of ours"),
        (example(video=None), "not one of ours"),
        (example(video=3), "not one of ours"),
        (example(ticks=b"1"), "not one of ours"),
        (example(labels=[1.0]), "1 labels, not 2"),
        (example(labels=None), "0 labels, not 2"),
        (example(num_frames=2**62), "4611686018427387904 frames, 1 ticks apart"),
        (example(ticks=2**62), "12 frames, 4611686018427387904 ticks apart"),
        (example(ticks=-1), "-1 ticks"),
    ],
    ids=range(10),  # the bytes of a message are in no order that two processes agree on
)
def test_records_that_are_not_ours_are_one_clear_line(stored, monkeypatch, content, message):
    files = RecordFiles(stored, "train", read_metadata(stored))
    monkeypatch.setattr(files, "_source", [content] * 3)
    with pytest.raises(InputError, match=f"record 1 of 'train' is damaged .*{message}"):
        files[1]


def test_a_video_that_breaks_is_named_by_its_record(stored, monkeypatch):
    source = records_source(stored, num_frames=4)
    monkeypatch.setattr(source.records, "_source", [example()] * 3)
    with pytest.raises(InputError, match="record 0 of 'train' is damaged .not a video|corrupt"):
        source[0]


def test_files_travel_to_another_process(stored):
    files = pickle.loads(pickle.dumps(RecordFiles(stored, "train", read_metadata(stored))))
    assert len(files) == 3 and files[2].name == "c.mp4"


def test_threads_that_read_first_import_one_after_the_other(stored):
    """At once they would wait for each other's locks, for ever, every few runs."""
    code = (
        "import sys, threading; from pathlib import Path; "
        "from vldm_jax.data import record_files; "
        "from vldm_jax.data.record_source import records_source; "
        f"source = records_source(Path({str(stored)!r}), num_frames=4); "
        "threads = [threading.Thread(target=source.__getitem__, args=(0,)) for _ in range(8)]; "
        "record_files._IMPORTING.acquire(); "  # as a thread that imports
        "[thread.start() for thread in threads]; threads[0].join(2); "
        "waiting = all(thread.is_alive() for thread in threads); "
        "print(waiting, 'tensorflow_datasets' in sys.modules, flush=True); "
        "record_files._IMPORTING.release(); [thread.join() for thread in threads]; print('read')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["True", "False", "read"], done.stderr
