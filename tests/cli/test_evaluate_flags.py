"""Flags and presets of `vldm evaluate` that fit each other and the figures."""

import pytest

from vldm_jax.cli.evaluate_parser import apply_preset, given_by, parser
from vldm_jax.core.errors import InputError
from vldm_jax.evals.clips import WINDOWS
from vldm_jax.evals.figures import FIGURES
from vldm_jax.evals.given import Given
from vldm_jax.evals.presets import PRESETS


def parsed(*argv):
    args = parser().parse_args(["--samples", "made", "--out", "out", *map(str, argv)])
    apply_preset(args)
    return args, given_by(args)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_of_figures_that_there_are_and_that_take_what_it_says(name):
    preset = PRESETS[name]
    assert set(preset.figures) <= FIGURES.keys() and preset.windows in WINDOWS
    assert all(FIGURES[figure].frames <= preset.frames for figure in preset.figures)
    args, given = parsed("--preset", name)
    assert (args.figures, args.clips, args.fps) == (preset.figures, preset.clips, preset.fps)
    assert (given.drawn is not None) == (preset.frames_drawn is not None)
    assert preset.frames_drawn is None or any("drawn" in FIGURES[f].takes for f in preset.figures)


def test_the_papers_fid_is_of_ten_thousand_frames_drawn_by_the_seed():
    _, given = parsed("--preset", "paper-fid", "--seed", 7)
    assert given.fixed(["drawn"], 2048, (16, 128, 256)) == {"drawn": {"frames": 10_000, "seed": 7}}


def test_a_flag_is_stronger_than_a_preset():
    args, given = parsed("--preset", "paper-fid", "--frames-drawn", 50, "--clips", 9)
    assert args.clips == 9 and given.drawn is not None and given.drawn.frames == 50
    assert parsed("--preset", "paper-fid", "--figures", "flicker")[0].figures == ("flicker",)


def test_what_is_not_said_is_not_given():
    assert parsed()[1] == Given()


@pytest.mark.parametrize("kind", ["real", "sample"])
def test_a_run_has_no_windows_to_choose(kind):
    words = ["--weights", "a.safetensors", "--out", "o", f"--{kind}-windows", "one"]
    with pytest.raises(InputError, match=f"--{kind}-windows says which clips"):
        apply_preset(parser().parse_args(words))
