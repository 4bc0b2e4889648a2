"""Samples that a folder keeps: which start may go on with them."""

import jax
import numpy as np
import pytest
from small_stages import random_params

from vldm_jax.core.errors import InputError
from vldm_jax.sampling.sampler import Sampler
from vldm_jax.stages.plan import make_plan
from vldm_jax.stages.samples import kept_samples, write_samples


@pytest.fixture
def made(monkeypatch):
    """Samples are as bright as their number; the list says which were made."""
    numbers = []

    def numbered(self, params, key, index, cond, size):
        for batch in index.reshape(-1, size):
            numbers.extend(batch.tolist())
            yield np.stack([np.full((1, 8, 8, 3), number, np.uint8) for number in batch])

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
    with pytest.raises(InputError, match="samples exists and holds other samples: .*: choose"):
        kept_samples(stage, {}, {}, ({}, 5), tmp_path / "samples")


@pytest.mark.parametrize("lost", ["000000", "000002", "000004"])
def test_a_second_start_makes_the_batch_that_is_missing(image, tmp_path, made, lost):
    stage = make_plan(image(sampling={"batch_size": 2})).stage
    cond, folder = stage.request(5), tmp_path / "samples"
    kept_samples(stage, {}, {}, (cond, 5), folder)
    (folder / f"{lost}.npy").unlink()
    made.clear()
    samples, _ = kept_samples(stage, {}, {}, (cond, 5), folder)
    assert [int(clip.max()) for clip in samples] == [0, 1, 2, 3, 4]
    assert made == [int(lost), (int(lost) + 1) % 5]


@pytest.mark.slow
def test_samples_of_a_stage_are_the_same_on_one_device_and_on_four(image, tmp_path, monkeypatch):
    """Six samples, four at a time: a batch of them is filled up and cut on any device."""
    stage = make_plan(image(sampling={"batch_size": 4})).stage
    params = {"network": random_params(stage.shapes()["network"]), **stage.given()}
    devices, found = jax.local_devices(), {}
    for count in (1, 4):
        monkeypatch.setattr(jax, "local_devices", lambda count=count: devices[:count])
        asked = (stage.request(6), 6)
        clips = write_samples(stage, stage.sampler(), params, asked, tmp_path / f"{count}")
        found[count] = np.stack(list(clips)).astype(int)
    assert len(devices) == 4 and found[4].std() > 1
    assert len(np.unique(found[4].reshape(6, -1), axis=0)) == 6
    assert np.abs(found[1] - found[4]).max() <= 1  # a byte, where one is rounded
