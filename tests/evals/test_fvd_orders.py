"""FVD of the shipped real clips puts what was done to clips behind clips to which nothing was."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from fvd_orders import measure

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def distances():
    return measure(32)


@pytest.mark.parametrize("what", ["frozen", "shuffled", "blurred", "noisy"])
def test_what_was_done_to_clips_shows(distances, what):
    fvd, kvd = distances[what]
    floor, floor_kvd = distances["other"]
    assert fvd > 1.15 * floor and kvd > floor_kvd + 20


def test_noise_is_the_worst(distances):
    assert max(distances, key=lambda what: distances[what][0]) == "noisy"
