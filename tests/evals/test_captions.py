"""Captions from files of several forms: one is drawn for a video, whatever else the file holds."""

import json
from pathlib import Path

import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.evals.captions import read_captions

TABLE = {"a": ["one", "two", "three"], "b/c": ["a red, fast car"]}
ROWS = [(name, text) for name, texts in TABLE.items() for text in texts]
FORMS = {
    "all.json": json.dumps(TABLE),
    "all.jsonl": "\n".join(json.dumps({"video": name, "caption": text}) for name, text in ROWS),
    "all.csv": "caption,video\n" + "".join(f'"{text}",{name}\n' for name, text in ROWS),
    "msrvtt.json": json.dumps(
        {
            "videos": [],
            "sentences": [{"video_id": n, "caption": text, "sen_id": 1} for n, text in ROWS],
        }
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_forms_hold_the_same(name, tmp_path):
    (tmp_path / name).write_text("\ufeff" + FORMS[name])
    found = read_captions(tmp_path / name)
    assert {key: list(texts) for key, texts in found.table.items()} == TABLE
    (tmp_path / "again.json").write_text(FORMS["all.json"])
    assert found.sha256 == read_captions(tmp_path / "again.json").sha256


@pytest.mark.parametrize("between", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1e"])
def test_a_caption_is_not_cut_where_only_python_sees_a_line_end(between, tmp_path):
    """Subtitles and pages have such characters; JSON and CSV end lines at line feeds alone."""
    text = f"a car,{between}at night"
    row = json.dumps({"video": "a", "caption": text}, ensure_ascii=False)
    forms = {"c.jsonl": row, "c.csv": f'video,caption\r\na,"{text}"\r\n'}
    for name, content in forms.items():
        (tmp_path / name).write_bytes(content.encode())
        if name == "c.jsonl" and between < " ":  # JSON has them escaped
            (tmp_path / name).write_text(json.dumps({"video": "a", "caption": text}))
        assert read_captions(tmp_path / name).table == {"a": (text,)}


def test_a_quoted_caption_may_have_lines_of_its_own(tmp_path):
    (tmp_path / "c.csv").write_bytes(b'video,caption\na,"first\n\nsecond"\nb,third\n')
    found = read_captions(tmp_path / "c.csv")
    assert found.table == {"a": ("first\n\nsecond",), "b": ("third",)}


def captions(tmp_path, table):
    (tmp_path / "table.json").write_text(json.dumps(table))
    return read_captions(tmp_path / "table.json")


def test_a_video_is_known_by_its_name_with_or_without_suffix(tmp_path):
    found = captions(tmp_path, {"a": "without", "b.mp4": "with", "sub/c": "below"})
    names = ("a.mp4", "a.webm", "b.mp4", "b.avi", "sub/c.mp4", "c.mp4")
    assert [found.of(name, 0) for name in names] == [
        "without", "without", "with", None, "below", None,
    ]  # fmt: skip


def test_which_caption_is_drawn_depends_on_video_and_seed_alone(tmp_path):
    many = [f"caption {number}" for number in range(20)]
    alone = captions(tmp_path, {"a": many})
    among = captions(tmp_path, {"0": "first", "a": many, "z": many})
    assert [alone.of("a.mp4", seed) for seed in range(30)] == [
        among.of("a.mkv", seed) for seed in range(30)
    ]
    drawn = {among.of("a", seed) for seed in range(200)}
    assert drawn == set(many)
    assert any(among.of("a", seed) != among.of("z", seed) for seed in range(5))


def test_another_caption_is_another_sum(tmp_path):
    one = captions(tmp_path, {"a": "one", "b": "two"}).sha256
    assert one == captions(tmp_path, {"b": "two", "a": ["one"]}).sha256
    assert one != captions(tmp_path, {"a": "one", "b": "two "}).sha256


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "a: one", "captions of an unknown form '.txt'"),
        ("a.json", "{", "not captions .not JSON"),
        ("a.json", "{}", "holds no captions"),
        ("a.json", '{"a": ""}', "'a' has no caption of a video"),
        ("a.json", '{"a": 3}', "'a' has no caption of a video"),
        ("a.json", '{"a": "x", "a": "y"}', "'a' stands there twice"),
        ("a.json", '{"sentences": [{"caption": "x"}]}', "sentence 1 has no caption of a video"),
        ("a.jsonl", '{"video": "a", "caption": "x"}\n[1]', "line 2: not captions .it must be"),
        ("a.csv", "name,text\na,b\n", "its first line names no column caption"),
        ("a.csv", "name,caption\na,b\n", "line 2 has no caption of a video"),
        ("a.csv", 'video,caption\na,"b\n', "is no CSV"),
        ("a.csv", b"video,caption\na,\xff\n", "not UTF-8"),
        ("a.csv", "", "names no column caption"),
    ],
)
def test_what_is_no_table_of_captions_is_one_line(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message) as caught:
        read_captions(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_not_there():
    for suffix in ("json", "jsonl", "csv"):
        with pytest.raises(InputError, match="nowhere.* no such file"):
            read_captions(Path(f"nowhere.{suffix}"))
