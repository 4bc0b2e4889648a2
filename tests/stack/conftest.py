import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "stages"))

from small_stages import config_of, leave

from vldm_jax.stack.plan import Part

CONTEXT = {"kind": "context_frames", "channels": 4}
RATES = {"kind": "frame_rate", "rates": (7.5, 30.0)}


def with_network(config, conditions, given, **data):
    with config.unlocked():
        config.model.network.more_conditions = conditions
        config.objective.given = given
        config.data.update(data)
    return config


@pytest.fixture(scope="session")
def parts(tmp_path_factory):
    """The parts of a small stack: image, prediction of 4 frames, interpolation at two rates."""
    root = tmp_path_factory.mktemp("stack")
    files = {
        name: root / f"{name}.safetensors"
        for name in ("autoencoder", "image", "prediction", "interpolation")
    }
    leave(config_of("autoencoder"), files["autoencoder"])
    below = {"autoencoder": files["autoencoder"]}
    configs = {"image": config_of("image", model=below)}
    leave(configs["image"], files["image"])
    below |= {"backbone": files["image"]}
    configs["prediction"] = with_network(
        config_of("video", model=below, data={"num_frames": 4}),
        (CONTEXT,), ((1.0, ()), (1.0, (0,)), (1.0, (0, 1))), fps=1.875,
    )  # fmt: skip
    configs["interpolation"] = with_network(
        config_of("video", model=below, data={"num_frames": 5}),
        (CONTEXT, RATES), ((1.0, (0, 4)),), fps=7.5, more_fps=(30.0,),
    )  # fmt: skip
    for name in ("prediction", "interpolation"):
        leave(configs[name], files[name])
    rounds = {"interpolation": 2}
    return {
        kind: Part(
            name=kind, kind=kind, config=config, weights=str(files[kind]),
            rounds=rounds.get(kind, 1),
        )
        for kind, config in configs.items()
    }  # fmt: skip
