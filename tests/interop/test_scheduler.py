"""What a pipeline says of its noise is kept, and a config that means another noise is refused."""

import json
from pathlib import Path

import pytest

from vldm_jax.build.networks import build_network
from vldm_jax.build.origin import check_origin
from vldm_jax.cli.flags import load_config
from vldm_jax.interop.scheduler import FILE, diffusion_of

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


def write(folder, **changes):
    path = folder / FILE
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**SD21, **changes}))


def test_epsilon_and_v_are_told_apart(tmp_path):
    write(tmp_path)
    assert diffusion_of(tmp_path)["target"] == "v"
    write(tmp_path, prediction_type="epsilon")
    assert diffusion_of(tmp_path)["target"] == "epsilon"
    write(tmp_path, rescale_betas_zero_snr=True)
    assert diffusion_of(tmp_path)["zero_terminal_snr"]


@pytest.mark.parametrize(
    "changes", [{"timestep_type": "continuous"}, {"beta_schedule": "squaredcos_cap_v2"}]
)
def test_noise_of_another_kind_is_not_described(tmp_path, changes):
    write(tmp_path, **changes)
    assert diffusion_of(tmp_path) is None
    assert diffusion_of(tmp_path / "no pipeline") is None


def test_a_config_of_another_target_is_refused(tmp_path):
    config = load_config(CONFIG)
    network = build_network(config.model, "float32")
    write(tmp_path, prediction_type="epsilon")
    meta = {"config": {}, "diffusion": diffusion_of(tmp_path)}
    check_origin("unet", meta, config, network, "")
    write(tmp_path)
    meta["diffusion"] = diffusion_of(tmp_path)
    with pytest.raises(ValueError, match="diffusion/target is v there and epsilon here"):
        check_origin("unet", meta, config, network, "")
