"""Real damage to checkpoints: it is named, and the last whole one is taken."""

import itertools
import json
import random
import shutil

import jax
import numpy as np
import pytest
from small import CONFIG, Loader, make_state, open_folder

from vldm_jax.checkpoint.inspect import describe, read_params
from vldm_jax.checkpoint.manager import check_workdir
from vldm_jax.checkpoint.manifest import MANIFEST, MARKS
from vldm_jax.checkpoint.steps import complete_steps, find_damage
from vldm_jax.core.errors import InputError


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A folder with checkpoints of steps 1 and 2."""
    folder = tmp_path_factory.mktemp("checkpoints")
    checkpoints = open_folder(folder)
    for step in (1, 2):
        checkpoints.save(step, make_state(float(step)), Loader({"position": step}), {"sums": {}})
    checkpoints.close()
    return folder


@pytest.fixture
def folder(original, tmp_path):
    return shutil.copytree(original, tmp_path / "checkpoints")


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def remove(path):
    path.unlink()


def flip(path):
    content = bytearray(path.read_bytes())
    content[random.Random(path.name).randrange(len(content))] ^= 1 << 4
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


def append(path):
    path.write_bytes(path.read_bytes() + b"\0")


def odd(text):
    def write(path):
        path.write_text(text)

    return write


ODD = ("[]", "{}", '"text"', "null", '{"files": {"a": 1}}', '{"files": {}}', "9" * 5000, "\xff{")
DEEP = 20_000 * '{"files":' + "1" + 20_000 * "}"
DAMAGES = (truncate, remove, flip, empty, append, *map(odd, (*ODD, DEEP)))


def files_of(checkpoint):
    return sorted(path for path in checkpoint.rglob("*") if path.is_file())


def resume(folder):
    """Return (step, position, open record) that a new process goes on from."""
    checkpoints, loader = open_folder(folder), Loader()
    try:
        state, interval = checkpoints.resume(make_state(), loader)
    finally:
        checkpoints.close()
    (value,) = {float(leaf.flat[0]) for leaf in map(np.asarray, jax.tree.leaves(state.params))}
    return value, loader.position, interval


def test_every_damage_of_every_file_is_seen(original, folder):
    """Except in orbax's marks of completion, which hold nothing that is read."""
    names = [path.relative_to(original / "2") for path in files_of(original / "2")]
    assert len(names) > 10 and {str(name) for name in names} >= {MANIFEST, *MARKS}
    assert find_damage(folder / "2") is None
    for name, damage in itertools.product(names, DAMAGES):
        if str(name) in MARKS:
            continue
        damage(folder / "2" / name)
        seen = find_damage(folder / "2")
        assert seen and (str(name) in seen or str(name) == MANIFEST), (name, damage)
        (folder / "2" / name).write_bytes((original / "2" / name).read_bytes())
    assert find_damage(folder / "2") is None


@pytest.mark.parametrize("damage", [remove, flip, empty, odd("[]")])
@pytest.mark.parametrize("name", ["meta/metadata", "loader/process_0-of-1.json", MANIFEST])
def test_a_damaged_newest_one_is_named_and_the_one_before_is_taken(folder, capsys, name, damage):
    damage(folder / "2" / name)
    assert resume(folder) == (1.0, {"position": 1}, {"sums": {}})
    line, *more = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{folder / '2'} is damaged (") and not more
    (aside,) = folder.glob("damaged_2_*")
    assert line.endswith(f"set aside as {aside.name}") and complete_steps(folder) == [1]
    assert resume(folder)[0] == 1.0 and capsys.readouterr().err == ""


@pytest.mark.parametrize("seed", range(6))
def test_random_damage_to_random_files(folder, capsys, seed):
    choice = random.Random(seed)
    paths = [path for path in files_of(folder / "2") if path.name not in MARKS]
    for path in choice.sample(paths, 3):
        choice.choice(DAMAGES[:5])(path)
    assert resume(folder)[0] == 1.0
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("item", ["state", "loader", "config", "meta"])
def test_a_lost_item(folder, capsys, item):
    shutil.rmtree(folder / "2" / item)
    assert resume(folder)[0] == 1.0
    assert f"({item}/" in capsys.readouterr().err


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("mark", MARKS)
def test_the_marks_of_completion_hold_nothing(folder, capsys, mark, damage):
    damage(folder / "2" / mark)
    assert resume(folder) == (2.0, {"position": 2}, {"sums": {}})
    assert capsys.readouterr().err == ""


def test_none_is_whole(folder, capsys):
    for step in ("1", "2"):
        flip(folder / step / "config" / "metadata")
    with pytest.raises(InputError, match=r"holds no whole checkpoint \(2: config.*; 1: config"):
        open_folder(folder)
    assert complete_steps(folder) == [1, 2] and capsys.readouterr().err == ""


def test_a_config_that_was_damaged_is_not_that_of_another_run(folder):
    path = folder / "2" / "config" / "metadata"
    path.write_text(path.read_text().replace("7.5", "2.5"))
    check_workdir(folder, CONFIG)


def test_a_summary_of_a_damaged_checkpoint_is_refused(folder):
    assert "checksums match" in describe(folder)
    flip(next((folder / "2" / "state").glob("ocdbt.process_0/d/*")))
    for read in (describe, read_params):
        with pytest.raises(InputError, match=r"2 is damaged: state/ocdbt\S+ has another content"):
            read(folder / "2")


def make_old(folder):
    """Make of the checkpoints what versions without checksums wrote."""
    for step in ("1", "2"):
        (folder / step / MANIFEST).unlink()
        path = folder / step / "meta" / "metadata"
        meta = json.loads(path.read_text())
        del meta["interval"]
        path.write_text(json.dumps(meta))


def test_checkpoints_without_checksums_load_and_it_is_said(folder, capsys):
    make_old(folder)
    assert resume(folder) == (2.0, {"position": 2}, None)
    err = capsys.readouterr().err
    assert f"{folder / '2'} is of an older version, without checksums" in err
    assert err.count("\n") == 1
    assert "no checksums (an older version)" in describe(folder)


@pytest.mark.parametrize("damage", [remove, empty, *map(odd, (*ODD, DEEP))])
@pytest.mark.parametrize("name", ["config", "meta", "loader", "state"])
def test_damage_without_checksums_is_one_line(folder, capsys, name, damage):
    """The one before is taken, or the damaged one is named and refused."""
    make_old(folder)
    names = {"loader": "process_0-of-1.json", "state": "_METADATA"}
    path = folder / "2" / name / names.get(name, "metadata")
    damage(path)
    try:
        assert resume(folder)[0] in (1.0, 2.0)
    except InputError as error:
        assert str(folder / "2") in str(error) and "\n" not in str(error)
    try:
        describe(folder / "2" if (folder / "2").exists() else folder / "1")
    except InputError as error:
        assert str(folder / "2") in str(error)
