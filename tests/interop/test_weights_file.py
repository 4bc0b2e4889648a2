"""The hash of a weights file: of what it holds now, and read once."""

import hashlib

from vldm_jax.interop import weights
from vldm_jax.interop.weights import WeightsFile


def test_a_file_that_several_stand_on_is_read_once_and_again_when_it_changed(tmp_path, monkeypatch):
    path, read = tmp_path / "weights", []
    own = weights.sha256
    monkeypatch.setattr(weights, "sha256", lambda file: (read.append(file), own(file))[1])
    for content in (b"one", b"two", b"longer"):
        fresh = tmp_path / "fresh"
        fresh.write_bytes(content)
        fresh.replace(path)
        found = [WeightsFile("named", path, {}).sha256 for _ in range(3)]
        assert found == [hashlib.sha256(content).hexdigest()] * 3
    assert len(read) == 3
