"""Small public models saved once a session, in the layout that their own library writes."""

import shutil

import pytest
import small_files


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """name -> folder of a public model with random weights, written by its own library."""
    reference = pytest.importorskip("reference", reason="torch is not installed")
    folders = {}

    def folder(name, *args, **kwargs):
        key = (name, args, tuple(sorted(kwargs.items())))
        if key not in folders:
            path = tmp_path_factory.mktemp(name)
            getattr(reference, name)(*args, **kwargs).save_pretrained(path)
            folders[key] = path
        return folders[key]

    return folder


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """kind -> folder of an intact small checkpoint."""
    root = tmp_path_factory.mktemp("small")
    for kind in ("unet", "autoencoder", "text_encoder", "temporal"):
        small_files.write(kind, root / kind)
    return root


@pytest.fixture
def weights(small, tmp_path):
    """kind -> the file of weights of a copy, to be damaged."""

    def copy(kind):
        folder = shutil.copytree(small / kind, tmp_path / kind)
        return next(folder.glob("*.safetensors"))

    return copy
