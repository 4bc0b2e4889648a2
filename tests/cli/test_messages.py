"""What a command says where a first try went wrong: one line, at once, and what to do instead."""

from pathlib import Path

import numpy as np
import pytest

from vldm_jax.checkpoint.weights import WEIGHTS
from vldm_jax.cli import main as entry
from vldm_jax.cli.flags import load_config
from vldm_jax.config.ranges import EMPTY_MEANS
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import check_writable
from vldm_jax.stages.plan import make_plan

ROOT = Path(__file__).parents[2]
VIDEO = str(ROOT / "configs" / "driving" / "video.py") + ":tiny"
IMAGE = "asset:driving/image.safetensors"


@pytest.fixture
def refused(capsys):
    """Run a command that must fail with one line; return that line."""

    def run(*argv):
        assert entry.main([str(word) for word in argv]) == 2
        err = capsys.readouterr().err
        assert err.startswith("vldm: error: ") and err.count("\n") == 1
        return err

    return run


def says(err, *parts):
    for part in parts:
        assert part in err, err


# A workdir to sample from.


@pytest.mark.parametrize("config", [(), ("--config", VIDEO)])
def test_a_workdir_that_is_not_there_is_said_at_once(refused, tmp_path, config):
    workdir = tmp_path / "nowhere"
    err = refused("sample", "--workdir", workdir, "--out", tmp_path / "out", *config)
    says(err, f"--workdir: no such folder: '{workdir}'")


def test_a_workdir_that_is_a_file_is_weights(refused, tmp_path):
    file = tmp_path / WEIGHTS
    file.touch()
    err = refused("sample", "--workdir", file, "--out", tmp_path / "out")
    says(err, f"--workdir: {file} is a file", f"--weights {file}")


@pytest.mark.parametrize("config", [(), ("--config", VIDEO)])
def test_a_run_that_stopped_early_goes_on_with_the_same_command(refused, tmp_path, config):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    err = refused("sample", "--workdir", tmp_path / "run", "--out", tmp_path / "out", *config)
    says(err, "vldm train", "same command", "goes on")
    assert "give --config" not in err


def test_weights_without_a_checkpoint_need_their_config(refused, tmp_path):
    (tmp_path / WEIGHTS).touch()
    err = refused("sample", "--workdir", tmp_path, "--out", tmp_path / "out")
    says(err, "holds no checkpoint, or none that is whole", "give --config")


# Values of a config.


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("optim.betas=0.9", ("config.optim.betas=0.9: expected a tuple", "(0.9, 0.999)")),
        ("train.groups.temporal=1", ("expected a tuple", "(1.0, 1.0)")),
        ("data.labels=night", ("expected a tuple", "('night', 'cars')")),
        ("sampling.labels=None", ("expected a tuple", "() asks for any")),
        ("data.labels=None", ("expected a tuple", "() is none of them")),
    ],
)
def test_a_tuple_is_shown_as_it_is_given(word, parts):
    with pytest.raises(InputError) as caught:
        load_config(VIDEO, [f"--config.{word}"])
    says(str(caught.value), *parts)


def test_what_a_message_says_of_an_empty_tuple_is_true():
    """No labels asked for: every one of them is unknown."""
    assert "sampling.labels" in EMPTY_MEANS
    stage = make_plan(load_config(VIDEO, ["--config.sampling.labels=()"])).stage
    assert np.isnan(stage.request(2)["labels"]).all()
    assert stage.captions(stage.request(1)) == ["night any, cars any"]


def test_a_shown_tuple_can_be_given():
    with pytest.raises(InputError) as caught:
        load_config(VIDEO, ["--config.optim.betas=0.9"])
    word = str(caught.value).split("'")[1]
    assert load_config(VIDEO, [word]).optim.betas == (0.9, 0.999)


@pytest.mark.parametrize(
    "argv",
    [
        ("train", "--workdir", "w"),
        ("convert", "export", IMAGE, "--to", "program", "--out", "o"),
    ],
)
def test_a_space_for_an_equals_sign_is_seen(refused, tmp_path, monkeypatch, argv):
    monkeypatch.chdir(tmp_path)
    err = refused(*argv, "--config", VIDEO, "--config.train.total_steps", "30")
    says(err, "--config.train.total_steps=30")
    assert list(tmp_path.iterdir()) == []


def test_a_word_of_no_key_is_unknown(refused):
    err = refused("train", "--workdir", "w", "--config", VIDEO, "--config.seed=1", "30")
    says(err, "unknown argument '30'")
    assert "write" not in err


def test_a_single_frame_is_no_clip_before_any_data_is_read():
    config = load_config(VIDEO, ["--config.data.num_frames=1", "--config.data.path=nowhere"])
    with pytest.raises(InputError, match="config.data.num_frames=1: .*at least 2"):
        make_plan(config)


def test_a_file_of_no_weights_is_said_with_its_key(refused, tmp_path):
    change = f"--config.model.backbone={ROOT / 'README.md'}"
    err = refused("train", "--config", VIDEO, "--workdir", tmp_path / "w", change)
    says(err, "--config.model.backbone: ", "README.md is no whole safetensors file")


# Where nothing can be written.


@pytest.fixture
def sealed(monkeypatch, tmp_path):
    """A folder that looks writable and is not, as /proc is to root."""
    folder = tmp_path / "sealed"
    folder.mkdir()
    make = Path.mkdir

    def mkdir(self, *args, **kwargs):
        if folder in self.parents:
            raise FileNotFoundError(2, "No such file or directory", str(self))
        return make(self, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    return folder


@pytest.mark.parametrize(
    "words",
    [("--workdir", "{}/x"), ("--workdir", "w", "--config.data.cache={}/x")],
)
def test_a_folder_that_takes_nothing_is_said_before_data_is_read(
    refused, sealed, tmp_path, monkeypatch, words
):
    monkeypatch.chdir(tmp_path)
    argv = [word.format(sealed) for word in words]
    err = refused("train", "--config", VIDEO, *argv, f"--config.data.path={tmp_path}")
    says(err, f"cannot write to the folder {sealed}/x", "choose another one")


def test_a_look_whether_a_folder_takes_files_leaves_none(tmp_path):
    check_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


# Help, and files that are no configs.


def test_help_on_building_data(capsys):
    assert entry.main(["data", "build", "--help"]) == 0
    out = capsys.readouterr().out
    says(out, "vldm data build folder", "vldm data build driving")


def test_a_script_that_is_no_config_is_not_run(refused, tmp_path):
    script = tmp_path / "script.py"
    ran = tmp_path / "ran"
    script.write_text(f"import os\nos.mkdir({str(ran)!r})\ndef main():\n    get_config = 1\n")
    err = refused("train", "--config", script, "--workdir", tmp_path / "w")
    says(err, f"{script}: there is no get_config() in it")
    assert not ran.exists()


@pytest.mark.parametrize(
    "text",
    [
        "def get_config():\n    return C()",
        "get_config = C",
        "get_config = lambda: C()",
        "get_config: object = C",
        "from ml_collections import ConfigDict as get_config",
        "if True:\n    def get_config():\n        return C()",
        "try:\n    import nothing\nexcept ImportError:\n    get_config = C",
        "from elsewhere_of_the_test import *",
    ],
)
def test_every_way_to_have_a_get_config_is_seen(tmp_path, monkeypatch, text):
    elsewhere = "from ml_collections import ConfigDict\nget_config = ConfigDict\n"
    (tmp_path / "elsewhere_of_the_test.py").write_text(elsewhere)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "config.py").write_text(f"from ml_collections import ConfigDict as C\n{text}\n")
    assert load_config(str(tmp_path / "config.py")).to_dict() == {}


# An inspection's folder.


def test_an_inspection_never_mixes_with_other_files(refused, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    argv = ("data", "inspect", "--config", VIDEO, "--config.data.path=nothing_is_read")
    err = refused(*argv, "--out", tmp_path)
    says(err, f"{tmp_path} exists and holds notes.txt", "choose another folder")


def test_an_inspection_replaces_an_earlier_one(refused, tmp_path):
    for name in ("sheet.png", "clips.mp4", "summary.txt"):
        (tmp_path / name).touch()
    argv = ("data", "inspect", "--config", VIDEO, "--config.data.path=no_such_data")
    says(refused(*argv, "--out", tmp_path), "no_such_data")  # the folder is not what is refused
