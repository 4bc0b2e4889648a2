"""What a pipeline says of its noise is kept, and a config that means another noise is refused."""

import json
from pathlib import Path

import pytest

from vldm_jax.cli.flags import load_config
from vldm_jax.interop.scheduler import FILE, diffusion_of
from vldm_jax.interop.weights import WeightsFile
from vldm_jax.stages.origin import check_made_for
from vldm_jax.stages.table import make_stage

CONFIG = f"{Path(__file__).parents[2]}/configs/text2video/video.py"
# scheduler_config.json of the public 2.1 pipeline at 768 pixels, what matters of it.
SD21 = {
    "_class_name": "DDIMScheduler",
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "num_train_timesteps": 1000,
    "prediction_type": "v_prediction",
    "clip_sample": False,
}


def write(folder, given=SD21, **changes):
    path = folder / FILE
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**given, **changes}))


def test_epsilon_and_v_are_told_apart(tmp_path):
    write(tmp_path)
    assert diffusion_of(tmp_path)["target"] == "v"
    write(tmp_path, prediction_type="epsilon")
    assert diffusion_of(tmp_path)["target"] == "epsilon"
    write(tmp_path, rescale_betas_zero_snr=True)
    assert diffusion_of(tmp_path)["zero_terminal_snr"]


@pytest.mark.parametrize(
    "changes",
    [
        {"timestep_type": "continuous"},
        {"beta_schedule": "squaredcos_cap_v2"},
        {"trained_betas": [0.1, 0.2]},
    ],
)
def test_noise_of_another_kind_is_not_described(tmp_path, changes):
    write(tmp_path, **changes)
    assert diffusion_of(tmp_path) is None
    assert diffusion_of(tmp_path / "no pipeline") is None


SCHEDULERS = ("DDPMScheduler", "DDIMScheduler", "PNDMScheduler", "EulerDiscreteScheduler")


@pytest.mark.parametrize("name", SCHEDULERS)
def test_absent_entries_are_what_diffusers_takes(tmp_path, name):
    public = pytest.importorskip("diffusers", reason="diffusers is not installed")
    schedule = getattr(public, name)().config
    write(tmp_path, {"_class_name": name})
    assert diffusion_of(tmp_path) == {
        "schedule": {
            "kind": schedule.beta_schedule,
            "beta_start": schedule.beta_start,
            "beta_end": schedule.beta_end,
            "num_steps": schedule.num_train_timesteps,
        },
        "zero_terminal_snr": False,
        "target": "epsilon",
    }
    assert schedule.prediction_type == "epsilon"


@pytest.mark.parametrize("entry", ["beta_schedule", "beta_start", "beta_end"])
def test_absent_entries_of_an_unknown_class_are_not_guessed(tmp_path, entry):
    """LCMScheduler and HeunDiscreteScheduler have other defaults than DDIMScheduler."""
    given = SD21 | {"_class_name": "LCMScheduler"}
    write(tmp_path, given)
    assert diffusion_of(tmp_path)["target"] == "v"
    del given[entry]
    write(tmp_path, given)
    assert diffusion_of(tmp_path) is None


def test_a_config_of_another_target_is_refused(tmp_path):
    meaning = make_stage(load_config(CONFIG)).meaning()
    write(tmp_path, prediction_type="epsilon")
    meta = {"config": {}, "diffusion": diffusion_of(tmp_path)}
    check_made_for(WeightsFile("unet", tmp_path, meta), meaning)
    write(tmp_path)
    meta["diffusion"] = diffusion_of(tmp_path)
    with pytest.raises(ValueError, match="diffusion/target is v there and epsilon here"):
        check_made_for(WeightsFile("unet", tmp_path, meta), meaning)
