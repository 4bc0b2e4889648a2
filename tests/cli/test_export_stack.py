"""`vldm convert export` of a stack: a program a part, and refusals of one line."""

import pytest
from small_stack import CONFIGS, write_stack

from vldm_jax.cli.main import main
from vldm_jax.core.json_files import read_json


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    return write_stack(tmp_path_factory.mktemp("exported_stack"))


def exported(stack, out, *words):
    argv = ["convert", "export", "--to", "program", "--config", stack, "--out", out, *words]
    return main([str(word) for word in argv])


def test_a_stack_becomes_programs_and_a_page(stack, tmp_path, capsys):
    out = tmp_path / "programs"
    assert exported(stack, out, "--frames", "4", "--config.seed=3") == 0
    assert "keyframes, decode as programs" in capsys.readouterr().out
    told = read_json(out / "keyframes" / "program.json", "")
    assert set(told["inputs"]) == {"video", "window", "z", "given", "labels"}
    assert told["description"]["seed"] == 3 and "night, cars" in told["description"]["labels"]
    assert read_json(out / "decode" / "program.json", "")["inputs"]["z"]["shape"][1] == 4
    assert "load_program" in (out / "README.md").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["runs/x"], "a stack names the weights of its parts"),
        (["--size", "8x8"], "--size and --tokens go with a network"),
        (["--config.parts.keyframes.weights=gone"], "config.parts.keyframes: gone does not exist"),
    ],
)
def test_what_cannot_be_exported_is_one_line(stack, tmp_path, capsys, words, message):
    assert exported(stack, tmp_path / "out", *words) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_without_a_stack_there_must_be_a_source(tmp_path, capsys):
    assert main(["convert", "export", "--out", str(tmp_path / "out")]) == 2
    assert "say what to export: a workdir" in capsys.readouterr().err


def test_what_is_made_of_frames_is_exported_with_its_stack(tmp_path, capsys):
    config = f"{CONFIGS / 'driving' / 'decoder'}.py:tiny"
    argv = ["convert", "export", "asset:driving/autoencoder.safetensors", "--to", "program"]
    assert main([*argv, "--config", config, "--out", str(tmp_path / "out")]) == 2
    assert "'decoder' makes is made of frames: export the stack" in capsys.readouterr().err
