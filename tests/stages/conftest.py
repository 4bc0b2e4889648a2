import pytest
from small_stages import config_of, leave


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """Files of an autoencoder, an image model on it, and temporal layers on that, by name."""
    root = tmp_path_factory.mktemp("world")
    files = {name: root / f"{name}.safetensors" for name in ("autoencoder", "image", "video")}
    leave(config_of("autoencoder"), files["autoencoder"])
    on_autoencoder = {"autoencoder": files["autoencoder"]}
    leave(config_of("image", model=on_autoencoder), files["image"])
    leave(config_of("video", model=on_autoencoder | {"backbone": files["image"]}), files["video"])
    return files


@pytest.fixture
def video(world):
    """Make a config of the video stage on the world's files, with overrides by section."""

    def make(model=(), **sections):
        files = {"autoencoder": world["autoencoder"], "backbone": world["image"]}
        return config_of("video", model=files | dict(model), **sections)

    return make


@pytest.fixture
def image(world):
    """Make a config of the image stage on the world's autoencoder, with overrides by section."""

    def make(model=(), **sections):
        files = {"autoencoder": world["autoencoder"]}
        return config_of("image", model=files | dict(model), **sections)

    return make


@pytest.fixture
def decoder(world):
    """Make a config of the decoder stage on the world's autoencoder, with overrides by section."""

    def make(model=(), **sections):
        return config_of("decoder", model={"init": world["autoencoder"]} | dict(model), **sections)

    return make
