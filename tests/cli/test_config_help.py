"""The choices that `--config FILE.py --help` lists are all there are, and each is one."""

from pathlib import Path

import pytest

from vldm_jax.cli.config_help import CHOICES, config_help
from vldm_jax.cli.flags import load_config
from vldm_jax.core.errors import InputError
from vldm_jax.stages.plan import make_plan

DRIVING = Path(__file__).parents[2] / "configs" / "driving"
LISTED = (
    "optim.name",
    "optim.schedule",
    "model.temporal.mix",
    "model.temporal.positions",
    "data.split",
    "train.precision",
    "sampling.solver.kind",
)


def test_a_key_that_names_one_of_several_lists_the_others():
    config = load_config(f"{DRIVING / 'video.py'}:tiny")
    lines = config_help(config, "video.py").splitlines()
    for key in LISTED:
        (line,) = [line for line in lines if f"--config.{key}=" in line]
        _, _, choices = line.partition("# of ")
        value = config
        for part in key.split("."):
            value = value[part]
        assert value in choices.split(", ") and len(choices.split(", ")) > 1, line


def test_the_perceptual_networks_are_listed():
    lines = config_help(load_config(str(DRIVING / "autoencoder.py")), "a").splitlines()
    (line,) = [line for line in lines if "model.perceptual=" in line]
    assert line.endswith("# of vgg16, alexnet")


SAME = ("optim.name", "optim.schedule", "model.temporal.mix", "model.temporal.positions")
CHECKED = [(key, choice) for key in (*SAME, "train.precision") for choice in CHOICES[key]]


@pytest.mark.parametrize(("key", "choice"), CHECKED)
def test_a_listed_choice_is_taken(key, choice):
    words = [f"--config.{key}={choice}", "--config.optim.weight_decay=0"]
    make_plan(load_config(f"{DRIVING / 'video.py'}:tiny", words))


@pytest.mark.parametrize("key", sorted({key for key, _ in CHECKED}))
def test_another_choice_is_refused(key):
    with pytest.raises(InputError, match="none_of_these"):
        make_plan(load_config(f"{DRIVING / 'video.py'}:tiny", [f"--config.{key}=none_of_these"]))
