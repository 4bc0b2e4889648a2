"""`vldm sample` of a stack: flags, refusals of one line, a video."""

import pytest
from small_stack import CONFIGS, write_stack

from vldm_jax.cli import stack as command
from vldm_jax.cli.flags import load_config
from vldm_jax.cli.main import main
from vldm_jax.cli.stack import parts_of_stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """A config file of a stack of one part, with its weights."""
    return write_stack(tmp_path_factory.mktemp("sample_stack"))


def refused(capsys, *words):
    code = main(["sample", *map(str, words)])
    said = capsys.readouterr().err.strip()
    assert code == 2 and len(said.splitlines()) == 1, said
    return said


@pytest.mark.slow
def test_a_video_is_written(stack, tmp_path, capsys):
    words = ["sample", "--config", str(stack), "--out", str(tmp_path / "out")]
    assert main([*words, "--seconds", "1.5", "--labels", "night=1"]) == 0
    begun, ended = capsys.readouterr().out.splitlines()
    length = "1 video of 3 frames, 1.6 s at 1.875 fps"
    assert begun.endswith(f"{length}; stopped, the same command goes on")
    assert f"{length} (keyframes " in ended
    assert (tmp_path / "out" / "0000.mp4").exists()
    assert main([*words, "--seconds", "1.5", "--labels", "night=1", "--resume"]) == 0
    said = refused(capsys, *words[1:], "--seconds", "9")
    assert f"{tmp_path / 'out'} exists and holds other samples: frames is 3 there and" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seconds", "0"], "--seconds 0 must be more than 0"),
        (["--labels", "rain=1"], "no label 'rain'; it takes night, cars"),
        (["--labels", "night"], "write NAME=NUMBER"),
        (["--boxes", "0.1,0.5,0.3,0.7"], "--boxes: no part takes boxes; let the first part be"),
        (["--boxes", "0.1,0.5,a,0.7"], "write X0,Y0,X1,Y1;X0,Y0,X1,Y1 in fractions of the frame"),
        (["--config.boxes=none"], "--boxes: no part takes boxes"),
        (["--context", "nothing.png"], "nothing.png cannot be read"),
        (["--crop"], "--crop cuts what --context gives"),
        (["--futures", "0"], "--futures 0"),
        (["--stages", "upsample"], "name parts in their order, of keyframes"),
        (["--num", "3"], "a stack makes --futures"),
        (["--resume"], "holds no video that was begun"),
        (["--weights", "x"], "config.parts.NAME.weights"),
        (["--config.parts.keyframes.weights=gone"], "config.parts.keyframes: gone does not exist"),
        (
            ["--config.parts.keyframes.weights=asset:driving/gone.safetensors"],
            "error: config.parts.keyframes: asset:driving/gone.safetensors does not ship with this "
            "version: train it (docs/stack.md) and give its folder, "
            "--config.parts.keyframes.weights=WORKDIR",
        ),
        (["--config.parts.keyframes=None"], "config.parts has nothing: a stack is"),
        (["--config.parts.keyframes.config=gone.py"], "config.parts.keyframes: no config file"),
        (["--config.parts.keyframes.rounds=0"], "rounds=0 must be at least 1"),
        (["--config.parts.keyframes.kind=video"], "keyframes.kind='video': choose one of"),
    ],
)
def test_what_cannot_be_is_said_in_one_line_and_nothing_is_written(
    stack, tmp_path, capsys, words, message
):
    said = refused(capsys, "--config", stack, "--out", tmp_path / "out", *words)
    assert message in said
    assert not list(tmp_path.glob("out/*"))


def test_a_file_where_the_folder_should_be_is_said(stack, tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    said = refused(capsys, "--config", stack, "--out", tmp_path / "out")
    assert f"{tmp_path / 'out'}" in said and "Errno" not in said


def test_the_folder_of_a_run_brings_its_own_config(stack):
    """Which knows what it was trained on; the stack's file does not."""
    config = load_config(str(stack)).copy_and_resolve_references()
    with config.unlocked():
        config.parts.keyframes.weights = str(stack.parent / "run")
        config.parts.keyframes.config, config.parts.keyframes.overrides = "gone.py", ()
    (part,) = parts_of_stack(str(stack), config)
    assert part.config.model.backbone == str(stack.parent / "image.safetensors")
    assert set(part.files) == {"autoencoder", "backbone", "weights"}
    with config.unlocked():
        config.parts.keyframes.overrides = ("sampling.steps=3",)
    (part,) = parts_of_stack(str(stack), config)
    assert part.config.sampling.steps == 3


def test_a_part_without_weights_is_left_out():
    file = str(CONFIGS / "driving" / "stack.py")
    config = load_config(f"{file}:tiny")
    assert {"decode", "upsample"} <= set(config.parts)
    names = [part.name for part in parts_of_stack(file, config)]
    assert names == ["first", "keyframes", "interpolate"]
    config.parts.upsample.weights = "runs/upsampler/weights.safetensors"
    assert parts_of_stack(file, config)[-1].name == "upsample"


def test_flags_of_a_stack_are_refused_for_a_stage(tmp_path, capsys):
    words = ("--config", f"{CONFIGS / 'driving' / 'video'}.py:tiny", "--weights", "x")
    said = refused(capsys, *words, "--out", tmp_path / "out", "--seconds", "3")
    assert "--seconds is for a stack of models" in said


def test_boxes_are_a_flag_or_of_the_config(stack, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(command, "run_stack", lambda plan, request, out, **_: asked.append(request))
    words = ["sample", "--config", str(stack), "--out", str(tmp_path / "out")]
    for more in (["--config.boxes=0,0,1,1"], ["--boxes", "none", "--config.boxes=0,0,1,1"], []):
        assert main([*words, *more]) == 0
    assert [request.boxes for request in asked] == [((0.0, 0.0, 1.0, 1.0),), (), None]


def test_boxes_of_a_stack_are_refused_for_a_stage(tmp_path, capsys):
    words = ("--config", f"{CONFIGS / 'driving' / 'boxes'}.py:tiny", "--weights", "x")
    said = refused(capsys, *words, "--out", tmp_path / "out", "--boxes", "none")
    assert "--boxes is for a stack of models" in said
