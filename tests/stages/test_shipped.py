"""What ships belongs together: each file names the one that it stands on."""

import pytest

from vldm_jax.checkpoint.weights import read_meta
from vldm_jax.cli.flags import load_config
from vldm_jax.core.assets import resolve
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import sha256
from vldm_jax.interop import load
from vldm_jax.stages.plan import make_plan
from vldm_jax.stages.table import make_stage

CONFIGS = resolve("asset:driving").parents[2] / "configs" / "driving"
NAMES = ("autoencoder", "image", "temporal", "prediction", "interpolation")
ON_IMAGE = NAMES[2:]  # temporal layers


def test_each_file_names_what_it_stands_on():
    files = {name: resolve(f"asset:driving/{name}.safetensors") for name in NAMES}
    digests = {name: sha256(path) for name, path in files.items()}
    for name in NAMES[1:]:
        assert read_meta(files[name])["autoencoder_sha256"] == digests["autoencoder"]
    for name in ON_IMAGE:
        assert read_meta(files[name])["backbone"]["sha256"] == digests["image"]


@pytest.mark.parametrize(
    ("stage", "name"),
    [
        ("image", "image"),
        ("video", "temporal"),
        ("prediction", "prediction"),
        ("interpolation", "interpolation"),
    ],
)
def test_the_tiny_configs_run_on_them(stage, name):
    config = load_config(f"{CONFIGS / stage}.py:tiny")
    stage = make_plan(config).stage
    assert stage.files.keys() >= {"autoencoder"}
    params, _ = stage.load(f"asset:driving/{name}.safetensors")
    assert params.keys() == {"network", "autoencoder"}


@pytest.mark.parametrize("name", ON_IMAGE)
def test_layers_bring_what_they_are_told_onto_the_image_model(name):
    layers, image = (load(f"asset:driving/{file}.safetensors") for file in (name, "image"))
    video = layers.onto(image)
    kinds = {one["kind"] for one in video.fields.get("more_conditions", ())}
    assert (
        kinds
        == {
            "temporal": set(),
            "prediction": {"context_frames"},
            "interpolation": {"context_frames", "context_noise", "frame_rate"},
        }[name]
    )


def test_training_goes_on_from_the_detector():
    weights = "asset:driving/detector.safetensors"
    config = load_config(f"{CONFIGS / 'detector'}.py:tiny", [f"--config.model.init={weights}"])
    stage = make_plan(config).stage
    assert stage.files.keys() == {"autoencoder", "init"}
    assert stage.network.threshold == read_meta(resolve(weights))["config"]["threshold"]


def test_they_keep_to_their_size():
    sizes = {name: resolve(f"asset:driving/{name}.safetensors").stat().st_size for name in NAMES}
    assert sizes["autoencoder"] + sizes["image"] < 10e6
    assert all(sizes[name] < 6e6 for name in ON_IMAGE)
    assert resolve("asset:driving/detector.safetensors").stat().st_size < 1e6
    clips = sum(path.stat().st_size for path in resolve("asset:driving/clips").iterdir())
    assert clips < 8e6


def test_shipped_temporal_layers_are_of_8_frames_and_of_any_size():
    """A mix a frame knows how many there are; nothing in a network knows height and width."""

    def load(*words):
        config = load_config(f"{CONFIGS / 'video'}.py:tiny", [f"--config.data.{w}" for w in words])
        return make_stage(config).load("asset:driving/temporal.safetensors")

    for frames in (4, 12):
        with pytest.raises(InputError, match=f"has a mix for each of 8 frames: .*={frames} to"):
            load(f"num_frames={frames}")
    load("height=96", "width=160")
    with pytest.raises(InputError, match="100x160, must be multiples of 8"):
        load("height=100", "width=160")
