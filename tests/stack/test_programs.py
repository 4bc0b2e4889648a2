"""The parts of a stack as programs make, joined as their page says, the video of the stack."""

import dataclasses
import re

import jax.numpy as jnp
import numpy as np
import pytest
from test_run_stack import asking

from vldm_jax.core.errors import InputError
from vldm_jax.stack import joined, programs
from vldm_jax.stack.fits import make_stack_plan
from vldm_jax.stack.programs import write_programs
from vldm_jax.stack.run import stack_film

SECONDS = 1.0  # 3 key frames, 30 frames


def code_of(page):
    """The lines that a folder's page gives, as a script."""
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(), re.S)
    return code


def joined_frames(folder, monkeypatch):
    monkeypatch.chdir(folder)
    names = {}
    exec(compile(code_of(folder / "README.md"), "README.md", "exec"), names)
    return names["frames"]


def made_by_the_stack(plan, out):
    return np.concatenate(list(stack_film(plan, asking(labels=({},)), out)(0, 0)))[: plan.frames]


def test_key_frames_of_a_program_are_the_stack_s(parts, tmp_path, monkeypatch):
    plan = make_stack_plan([parts["prediction"]], 5.0)
    assert write_programs(plan, 0, 3, tmp_path / "programs", None) == ("prediction", "decode")
    frames = joined_frames(tmp_path / "programs", monkeypatch)
    assert frames.shape == (1, 9, 8, 8, 3)
    apart = np.abs(frames[0].astype(int) - made_by_the_stack(plan, tmp_path / "out"))
    assert apart.max() <= 1


@pytest.mark.slow
def test_programs_joined_as_their_page_says_make_the_stack_s_video(
    parts, pixel_parts, tmp_path, monkeypatch
):
    plan = make_stack_plan([*parts.values(), *pixel_parts.values()], SECONDS)
    names = write_programs(plan, 0, 30, tmp_path / "programs", None)
    assert names == ("image", "prediction", "interpolation", "decoder", "upsampler")
    frames = joined_frames(tmp_path / "programs", monkeypatch)
    assert frames.shape == (1, 30, 32, 32, 3)
    whole = made_by_the_stack(plan, tmp_path / "out").astype(int)
    assert np.abs(frames[0].astype(int) - whole).max() <= 2  # windows of the decoder end elsewhere
    assert np.abs(whole - whole[:1]).max() > 10


@pytest.mark.slow
def test_rounds_by_two_models_are_two_programs(parts, tmp_path, monkeypatch):
    slow = dataclasses.replace(parts["interpolation"], rounds=1)
    config = slow.config.copy_and_resolve_references()
    with config.unlocked():
        config.data.fps, config.data.more_fps = 30.0, (7.5,)
    fast = dataclasses.replace(slow, name="faster", config=config)
    plan = make_stack_plan([parts["prediction"], slow, fast], SECONDS)
    names = write_programs(plan, 0, 30, tmp_path / "programs", None)
    assert names == ("prediction", "interpolation", "faster", "decode")
    frames = joined_frames(tmp_path / "programs", monkeypatch)
    whole = made_by_the_stack(plan, tmp_path / "out").astype(int)
    assert np.abs(frames[0].astype(int) - whole).max() <= 1


def test_a_round_is_told_its_rate(parts, monkeypatch):
    def rate_of(sampler, params, key, index, cond):
        return lambda z, given, number: z + cond["fps"][:, None, None, None, None]

    monkeypatch.setattr(programs, "window_of", rate_of)
    plan = make_stack_plan([parts["prediction"], parts["interpolation"]], SECONDS)
    function = programs.stack_functions(plan, 0, 8)["interpolation"]()
    rows = {
        name: jnp.zeros((2, *one.shape[1:]), one.dtype) for name, one in function.inputs.items()
    }
    told = function.call(function.params, **{**rows, "round": jnp.array([0, 1])})
    np.testing.assert_allclose(told[:, 0, 0, 0, 0], [7.5, 30.0])


def test_a_folder_that_holds_something_is_left_alone(parts, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    plan = make_stack_plan([parts["prediction"]], 1.0)
    with pytest.raises(InputError, match="holds notes.txt"):
        write_programs(plan, 0, 8, tmp_path, None)


def test_a_page_of_a_stack_without_an_image_model_begins_with_nothing(parts):
    alone = joined.how_they_join(make_stack_plan([parts["prediction"]], 1.0), 8)
    assert "no frame is given" in alone and "between" not in alone
    both = joined.how_they_join(make_stack_plan(list(parts.values()), 1.0), 8)
    assert 'opened("image")' in both and "range(2)" in both
