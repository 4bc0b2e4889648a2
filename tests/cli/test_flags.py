import argparse
import shlex
from pathlib import Path

import pytest

from vldm_jax.cli import main as entry
from vldm_jax.cli.flags import Parser, add_config, load_config, parse_with_config, size
from vldm_jax.config.diffusion import SOLVERS
from vldm_jax.core.errors import InputError

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
