"""FVD of the shipped real clips puts what was done to clips behind clips to which nothing was."""

import numpy as np
import pytest

from vldm_jax.core.assets import resolve
from vldm_jax.evals.clips import array_clips, folder_clips
from vldm_jax.evals.extract import extract
from vldm_jax.evals.extractors import make_extractor
from vldm_jax.evals.frechet import frechet_distance
from vldm_jax.evals.kernel import kernel_distance

COUNT = 32


@pytest.fixture(scope="module")
def distances(tmp_path_factory):
    """{what was done: (FVD, KVD)} of as many clips, against others that are as they were."""
    clips = folder_clips(
        resolve("asset:driving/clips"), shape=(16, 64, 128), fps=15.0, windows="all", seed=0,
        index=tmp_path_factory.mktemp("scan") / "scan.json",
    )  # fmt: skip
    real, other = (
        np.stack([clips.read(i) for i in range(first, first + COUNT)]) for first in (0, COUNT)
    )
    random = np.random.default_rng(0)
    blurred = sum(
        np.roll(np.float32(other), (y, x), (2, 3)) for y in (-2, 0, 2) for x in (-2, 0, 2)
    )
    sets = {
        "real": real,
        "other": other,
        "frozen": np.repeat(other[:, :1], 16, axis=1),
        "shuffled": np.stack([clip[random.permutation(16)] for clip in other]),
        "blurred": np.uint8(blurred / 9),
        "noisy": np.uint8(np.clip(other + random.normal(0, 40, other.shape), 0, 255)),
    }
    i3d = make_extractor("i3d")
    found = {
        name: extract(i3d, array_clips(videos, 15), cache=None, what=name).rows[:, 0]
        for name, videos in sets.items()
    }
    return {
        name: (frechet_distance(found[name], found["real"]),
               kernel_distance(found[name], found["real"]))
        for name in sets if name != "real"
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("what", ["frozen", "shuffled", "blurred", "noisy"])
def test_what_was_done_to_clips_shows(distances, what):
    fvd, kvd = distances[what]
    floor, floor_kvd = distances["other"]
    assert fvd > 1.15 * floor and kvd > floor_kvd + 20


@pytest.mark.slow
def test_noise_is_the_worst(distances):
    assert max(distances, key=lambda what: distances[what][0]) == "noisy"
