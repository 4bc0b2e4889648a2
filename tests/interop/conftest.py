"""Small public models saved once a session, in the layout that their own library writes."""

import pytest


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
