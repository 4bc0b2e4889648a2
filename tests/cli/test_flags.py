import argparse
import json
import shlex
from pathlib import Path

import pytest
from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from vldm_jax.checkpoint.manifest import write_manifest
from vldm_jax.cli import main as entry
from vldm_jax.cli.flags import Parser, add_config, load_config, parse_with_config, size
from vldm_jax.cli.overrides import override
from vldm_jax.cli.run_config import run_config
from vldm_jax.config.diffusion import SOLVERS
from vldm_jax.config.ranges import MAY_BE_NONE
from vldm_jax.core.errors import InputError, naming

CONFIG = """
from ml_collections import ConfigDict

def get_config(variant="full"):
    return ConfigDict({"variant": variant, "optim": {"lr": 1e-4, "steps": 10, "betas": (0.9, 0.9)}})
"""


@pytest.fixture
def parse(tmp_path):
    path = tmp_path / "config.py"
    path.write_text(CONFIG)

    def run(*argv, variant=""):
        parser = Parser("train", "")
        add_config(parser)
        parser.add_argument("--workdir", required=True)
        return parse_with_config(parser, [f"--config={path}{variant}", "--workdir=w", *argv])

    return run


def test_overrides_and_variant(parse):
    args, config = parse("--config.optim.lr=1", "--config.optim.betas=(0.5, 0.9)", variant=":tiny")
    assert (config.optim.lr, config.optim.betas, config.variant) == (1.0, (0.5, 0.9), "tiny")
    assert isinstance(config.optim.lr, float) and config.is_locked and args.workdir == "w"


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--config.optim.lrr=1", "no key 'lrr'; did you mean 'lr'"),
        ("--config.opti.lr=1", "no key 'opti'; did you mean 'optim'"),
        ("--config.optim.steps=many", "steps=many"),
        ("--wordkir=x", "unknown argument '--wordkir=x'"),
    ],
)
def test_a_wrong_word_is_named(parse, argument, message):
    with pytest.raises(InputError, match=message):
        parse(argument)


TINY = str(Path(__file__).parents[2] / "configs" / "driving" / "video.py") + ":tiny"


@pytest.mark.parametrize("key", sorted(MAY_BE_NONE))
def test_what_may_be_absent_can_be_left_out_whatever_it_is(key):
    values = {str: "there", int: 3, float: 0.5, object: (2, 4), tuple: (2, 4)}
    section = config = ConfigDict()
    *parents, name = key.split(".")
    for parent in parents:
        section[parent] = ConfigDict()
        section = section[parent]
    section[name] = values[MAY_BE_NONE[key]]
    override(config.lock(), f"--config.{key}=None", "config")
    assert section[name] is None


@pytest.mark.parametrize("key", ["data.split", "model.kind", "model.temporal.mix"])
def test_what_may_not_be_absent_is_text(key):
    config = load_config(TINY, [f"--config.{key}=None"])
    *parents, name = key.split(".")
    section = config
    for parent in parents:
        section = section[parent]
    assert section[name] == "None"


@pytest.mark.parametrize("key", ["model.network.layers_per_level", "data.labels", "optim.lr"])
def test_what_may_not_be_absent_is_refused_as_none(key):
    with pytest.raises(InputError, match=f"config.{key}=None: expected a"):
        load_config(TINY, [f"--config.{key}=None"])


def test_a_key_of_a_users_own_that_is_absent_stays_absent():
    config = ConfigDict({"mine": {"file": placeholder(str), "other": None}}).lock()
    for name in config.mine:
        override(config, f"--config.mine.{name}=None", "config")
        assert config.mine[name] is None


def test_a_part_of_a_stack_is_left_out_as_none_and_no_other_section_is():
    config = ConfigDict({"parts": {"one": {"rounds": 1}, "two": {"rounds": 2}}}).lock()
    override(config, "--config.parts.one=None", "config")
    assert list(config.parts) == ["two"] and config.is_locked and config.parts.is_locked
    with pytest.raises(InputError, match="config.parts is a section"):
        override(config, "--config.parts=None", "config")
    with pytest.raises(InputError, match="config.parts.two is a section"):
        override(config, "--config.parts.two=none", "config")


def test_where_it_is_is_said_once():
    with pytest.raises(InputError, match="^there: here: wrong$"), naming("there"):
        with naming("here"), naming("here"):
            raise InputError("wrong")


def test_the_table_knows_every_placeholder_and_its_type():
    def absent(section, path=""):
        for name, value in section.items():
            if isinstance(value, ConfigDict):
                yield from absent(value, f"{path}{name}.")
            elif value is None:
                yield f"{path}{name}", section.get_type(name)

    for path in (Path(__file__).parents[2] / "configs").glob("*/*.py"):
        found = dict(absent(load_config(str(path))))
        tunes = f"{path.parent.name}/{path.stem}" in ("text2video/image", "text2video/upsampler")
        assert "model.init" in found or path.stem == "stack" or tunes
        assert found == {key: MAY_BE_NONE[key] for key in found}


def test_a_stored_placeholder_takes_what_it_took_before(tmp_path):
    """A run's config does not say that its backbone, None there, is a file's name."""
    path = tmp_path / "checkpoints" / "3"
    (path / "config").mkdir(parents=True)
    stored = {"model": {"backbone": None, "network": {"heads": None}}, "optim": {"clip_norm": None}}
    (path / "config" / "metadata").write_text(json.dumps(stored))
    write_manifest(path)
    words = ("model.backbone=2024", "optim.clip_norm=2", "model.network.heads=(2, 4)")
    config = run_config(tmp_path, [f"--config.{word}" for word in words])
    assert config.model.backbone == "2024" and config.model.network.heads == (2, 4)
    assert config.optim.clip_norm == 2.0 and isinstance(config.optim.clip_norm, float)
    with pytest.raises(InputError, match="clip_norm=much: expected a number"):
        run_config(tmp_path, ["--config.optim.clip_norm=much"])


def test_missing_config_file():
    parser = Parser("train", "")
    add_config(parser)
    with pytest.raises(InputError, match="no config file 'nowhere.py'"):
        parse_with_config(parser, ["--config=nowhere.py"])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["trian"], "unknown command 'trian'"),
        (["train"], "--config"),
        (["data", "bild"], "build folder, build driving, or inspect"),
        (["data", "build", "driving", "--out=x", "--clips=1", "--size=big"], "HEIGHTxWIDTH"),
        (["inspect", "nowhere"], "no such file or folder"),
        (["inspect", "asset:nothing"], "ships with this version"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(argv, message, capsys):
    assert entry.main(argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("vldm: error: ") and message in err
    assert err.count("\n") == 1


def test_help_and_version(capsys):
    assert entry.main(["--help"]) == 0
    assert entry.main(["--version"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in entry.COMMANDS) and "vldm_jax 0." in out


def test_help_of_a_config_lists_its_keys_as_they_can_be_given(capsys):
    name = str(Path(__file__).parents[2] / "configs" / "driving" / "video.py")
    with pytest.raises(SystemExit) as end:
        entry.main(["train", "--config", name, "--help"])
    assert end.value.code == 0
    lines = [
        line for line in capsys.readouterr().out.splitlines() if line.strip(" '").startswith("--c")
    ]
    words = [word for line in lines if (word := shlex.split(line, comments=True)[0]) != "--config"]
    assert "--config.train.total_steps" in {word.split("=")[0] for word in words}
    assert load_config(name, words).to_dict() == load_config(name).to_dict()
    (solvers,) = [line for line in lines if "sampling.solver.kind" in line]
    assert all(solver in solvers for solver in SOLVERS)


@pytest.mark.parametrize("text", ["0x64", "64", "64x", "ax64", "-1x64"])
def test_a_size_is_two_positive_numbers(text):
    assert size("64x128") == (64, 128)
    with pytest.raises(argparse.ArgumentTypeError, match="as HEIGHTxWIDTH"):
        size(text)
