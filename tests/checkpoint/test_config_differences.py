"""Which differences between two configs make another run."""

import pytest

from vldm_jax.checkpoint.configs import check_same_run, differences
from vldm_jax.core.errors import InputError

CONFIG = {
    "seed": 0,
    "data": {"fps": 7.5, "workers": 8, "labels": (("night", 1),)},
    "optim": {"lr": 1e-4, "betas": (0.9, 0.99)},
    "train": {"total_steps": 100, "log_every": 10, "batch_size": 4},
    "checkpoint": {"every": 10, "keep": 2},
}


def changed(**sections):
    return {
        key: value | sections.get(key, {}) if isinstance(value, dict) else value
        for key, value in CONFIG.items()
    }


def test_tuples_and_their_json_lists_are_the_same():
    stored = changed(optim={"betas": [0.9, 0.99]}, data={"labels": [["night", 1]]})
    assert differences(stored, CONFIG) == []


def test_length_logging_and_workers_may_change():
    other = changed(
        train={"total_steps": 7, "log_every": 1}, checkpoint={"keep": 9}, data={"workers": 0}
    )
    assert differences(CONFIG, other) == []


@pytest.mark.parametrize("key", ["backbone", "autoencoder", "init", "null_context"])
def test_files_may_move(key):
    assert differences({"model": {key: "here.st"}}, {"model": {key: "there.st"}}) == []


def test_what_is_learned_may_not_change():
    other = changed(optim={"lr": 2e-4}, train={"batch_size": 8}, data={"crop": True})
    assert differences(CONFIG, other) == [
        "data.crop is absent there and true here",
        "optim.lr is 0.0001 there and 0.0002 here",
        "train.batch_size is 4 there and 8 here",
    ]


def test_the_message_is_one_line_with_the_first_keys():
    other = {"seed": 1, "a": 1, "b": 2, "c": {}}
    with pytest.raises(InputError) as error:
        check_same_run("runs/x/checkpoints/5", {"seed": 0}, other)
    assert str(error.value) == (
        "runs/x/checkpoints/5 was made by another config: a is absent there and 1 here; "
        "b is absent there and 2 here; c is absent there and {} here (and 1 more): "
        "choose another --workdir or set these back"
    )


@pytest.mark.parametrize("convolutions", [True, False])
def test_a_run_from_before_there_was_a_choice_goes_on_as_it_was(convolutions):
    stored = {"model": {"temporal": {"mix": "scalar"}}}
    given = {"model": {"temporal": {"mix": "scalar", "convolutions": convolutions}}}
    lines = ["model.temporal.convolutions is true there and false here"]
    assert differences(stored, given) == ([] if convolutions else lines)
    assert differences({"model": {"kind": "unet"}}, {"model": {"kind": "unet"}}) == []
