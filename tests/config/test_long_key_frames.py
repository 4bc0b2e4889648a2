"""The full-size models of driving key frames on far longer clips: shapes alone, no memory."""

import functools
from pathlib import Path

import jax
import pytest

from vldm_jax import conditions
from vldm_jax.cli.flags import load_config
from vldm_jax.core.errors import InputError
from vldm_jax.core.paths import flatten
from vldm_jax.models import table
from vldm_jax.stages.table import make_stage

CONFIGS = Path(__file__).parents[2] / "configs" / "driving"
LONG = ("positions=relative", "max_frame_distance=8", "norms=per_frame")


def stage_of(name, *temporal):
    words = [f"--config.model.temporal.{word}" for word in temporal]
    return make_stage(load_config(f"{CONFIGS / name}.py", words))


def inputs_of(stage, frames, height=16, width=32):
    """Shapes of z, time and all that the network may be told."""
    latent = (1, frames, height, width, stage.network.out_channels)
    z, time, _ = stage.network.example_inputs(latent)
    return z, time, conditions.examples(stage.conditions, latent)


@pytest.mark.parametrize("name", ["video", pytest.param("prediction", marks=pytest.mark.slow)])
def test_175_frames_take_the_parameters_of_any_other_number(name):
    """With one mix a layer: of no parameter the shape depends on the length, or on the size."""
    stage = stage_of(name, "mix=scalar", *LONG)
    net, inputs = stage.network, inputs_of(stage, 175, 24, 40)
    out, shapes = jax.eval_shape(
        functools.partial(net.init_with_output, train=False), jax.random.key(0), *inputs
    )
    assert flatten(shapes["params"]) == flatten(stage.shapes()["network"])
    assert out.shape == (1, 175, 24, 40, net.out_channels)
    # How far a frame sees, of 175: two convolutions a block, and 8 frames a transformer.
    paths = {
        path.rpartition("/mixer/logit")[0] for path in flatten(shapes["params"]) if "mixer" in path
    }
    blocks = sum("temporal_resnets" in path for path in paths)
    assert (blocks, len(paths)) == (17, 33) and 2 * blocks + 8 * (len(paths) - blocks) == 162


def test_a_mix_of_each_of_8_frames_is_of_8_frames():
    stage = stage_of("video", *LONG)
    with pytest.raises(InputError, match="made for 8 frames, got 175; use that many") as error:
        table.abstract_params(stage.network, *inputs_of(stage, 175))
    assert "\n" not in str(error.value)
