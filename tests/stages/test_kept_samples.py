"""Samples that a folder keeps: which start may go on with them."""

import numpy as np
import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.sampling.sampler import Sampler
from vldm_jax.stages.plan import make_plan
from vldm_jax.stages.samples import kept_samples


@pytest.fixture
def made(monkeypatch):
    """Samples are as bright as their number; the list says which were made."""
    numbers = []

    def numbered(self, params, key, index, cond, size):
        numbers.extend(index.tolist())
        yield np.stack([np.full((1, 8, 8, 3), number, np.uint8) for number in index])

    monkeypatch.setattr(Sampler, "in_batches", numbered)
    return numbers


def test_samples_without_labels_are_not_taken_for_those_of_another_number(image, tmp_path, made):
    """Nothing tells them from more of them but their number; the last batch is filled up."""
    none = {"network.label_tokens": (), "network.context_dim": None}
    stage = make_plan(image(sampling={"batch_size": 2}, model=none)).stage
    assert not stage.conditions
    samples, _ = kept_samples(stage, {}, {}, ({}, 3), tmp_path / "samples")
    assert [int(clip.max()) for clip in samples] == [0, 1, 2] and made == [0, 1, 2, 0]
    samples, _ = kept_samples(stage, {}, {}, ({}, 3), tmp_path / "samples")
    assert samples.count == 3 and len(made) == 4
    with pytest.raises(InputError, match="samples exists and holds"):
        kept_samples(stage, {}, {}, ({}, 5), tmp_path / "samples")
