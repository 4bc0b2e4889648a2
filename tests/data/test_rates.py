"""Several frame rates in one source: each as often, each window as of its rate alone."""

import numpy as np
import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.data.source import folder_source

SMALL = {"height": 32, "width": 64, "num_frames": 4, "fps": 30.0}


def test_windows_of_all_rates_are_those_of_each(clips):
    both = folder_source(clips, more_fps=(7.5,), **SMALL)
    alone = [folder_source(clips, **{**SMALL, "fps": fps}) for fps in (30.0, 7.5)]
    rates = [float(both[i]["fps"]) for i in range(len(both))]
    assert sorted(set(rates)) == [7.5, 30.0] and rates.count(7.5) == rates.count(30.0)
    for source in alone:
        mine = [i for i, fps in enumerate(rates) if fps == source[0]["fps"]]
        shown = {both[i]["video"].tobytes() for i in mine}
        assert shown == {source[i]["video"].tobytes() for i in range(len(source))}


def test_they_share_a_cache(clips, tmp_path):
    plain = folder_source(clips, more_fps=(7.5,), **SMALL)
    cached = folder_source(clips, more_fps=(7.5,), cache=tmp_path, **SMALL)
    assert len(list(tmp_path.glob("frames-*.npy"))) == 1
    for i in (0, len(plain) - 1):
        np.testing.assert_array_equal(plain[i]["video"], cached[i]["video"])


@pytest.mark.parametrize(
    "change",
    [{"more_fps": (30.0,)}, {"more_fps": (0.0,)}, {"more_fps": (7.5,), "num_frames": 1}],
)
def test_rates_that_are_none_are_refused(clips, change):
    with pytest.raises(InputError, match="more_fps|fps must be positive, got 0.0"):
        folder_source(clips, **{**SMALL, **change})


def test_a_rate_that_no_video_has_is_named(clips):
    with pytest.raises(InputError, match="at 120 fps"):
        folder_source(clips, more_fps=(120.0,), **SMALL)
