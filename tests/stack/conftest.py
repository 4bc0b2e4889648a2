import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "stages"))

from small_stages import config_of, leave

from vldm_jax.stack.plan import KINDS, Part

CONTEXT = {"kind": "context_frames", "channels": 4}
RATES = {"kind": "frame_rate", "rates": (7.5, 30.0)}


def with_network(config, conditions, given, **data):
    with config.unlocked():
        config.model.network.more_conditions = conditions
        config.objective.given = given
        config.data.update(data)
    return config


@pytest.fixture(scope="session")
def every_part(tmp_path_factory):
    root = tmp_path_factory.mktemp("stack")
    files = {
        name: root / f"{name}.safetensors"
        for name in ("autoencoder", "image", "prediction", "interpolation", "decoder", "upsampler")
    }
    leave(config_of("autoencoder"), files["autoencoder"])
    below = {"autoencoder": files["autoencoder"]}
    configs = {"image": config_of("image", model=below)}
    leave(configs["image"], files["image"])
    configs["decoder"] = config_of(
        "decoder", model={"init": files["autoencoder"]}, data={"num_frames": 4},
        sampling={"decode": {"frames": 8, "overlap": 2}},
    )  # fmt: skip
    configs["upsampler"] = config_of(
        "upsampler", data={"height": 32, "width": 32}, sampling={"chunk": 6, "overlap": 2},
    )  # fmt: skip
    for name in ("decoder", "upsampler"):
        leave(configs[name], files[name])
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
        for kind, config in sorted(configs.items(), key=lambda item: list(KINDS).index(item[0]))
    }  # fmt: skip


@pytest.fixture(scope="session")
def parts(every_part):
    """The parts of a small stack up to latents: windows of 4 key frames, two rounds between."""
    return {kind: every_part[kind] for kind in ("image", "prediction", "interpolation")}


@pytest.fixture(scope="session")
def pixel_parts(every_part):
    """What makes its pixels: a temporal decoder, and an upsampler of images."""
    return {kind: every_part[kind] for kind in ("decoder", "upsampler")}
