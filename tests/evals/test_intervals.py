"""Intervals of figures that cannot be anything."""

import dataclasses

import numpy as np
import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.evals.clips import array_clips
from vldm_jax.evals.compare import compare, make_extractors
from vldm_jax.evals.figures import FIGURES
from vldm_jax.evals.interval import bootstrap_interval
from vldm_jax.evals.measured import measured
from vldm_jax.evals.sets import Compared
from vldm_jax.evals.value import evaluate


def share(rows):
    return float(rows.mean())


@pytest.mark.parametrize("ones", [0, 1, 5, 9, 10])
def test_an_interval_holds_its_figure_and_stays_where_the_figure_can_be(ones):
    rows = (np.arange(10) < ones).astype(float)
    low, high, _ = bootstrap_interval(share, (rows,), share(rows), within=(0.0, 1.0))
    assert 0.0 <= low <= share(rows) <= high <= 1.0


def test_a_figure_whose_draws_all_lie_lower_is_still_inside():
    """A largest value: no draw can exceed it, and most fall short."""
    rows = np.arange(10.0)
    low, high, _ = bootstrap_interval(lambda rows: float(rows.max() ** 3), (rows,), 729.0)
    assert low < 729.0 <= high


def test_the_order_of_cars_that_is_perfect_has_no_interval_beyond_one():
    cars = np.array([0.0, 2.0, 5.0, 7.0])
    rows = np.stack([cars, 0 * cars, cars], axis=-1)[:, None]
    figure = FIGURES["agreement_cars_order"]
    found = evaluate(figure, rows, None, None, settings={})
    assert found.value == 1.0 and -1.0 <= found.interval[0] <= found.interval[1] == 1.0


def width(interval):
    return interval.high - interval.low


def of_videos(random, videos=12, windows=6):
    """Rows of windows, each about the number of its video, which is drawn around 0; and whose."""
    of = np.repeat(np.arange(videos), windows)
    return random.normal(size=videos)[of] + 0.1 * random.normal(size=len(of)), of


def test_windows_of_one_video_do_not_make_an_interval_narrower():
    """Six equal windows of each video say no more than one of each, in any order."""
    random = np.random.default_rng(0)
    rows = random.normal(size=16)
    order = random.permutation(np.repeat(np.arange(16), 6))
    one = bootstrap_interval(share, (rows,), share(rows), draws=1000)
    six = bootstrap_interval(share, (rows[order],), share(rows), videos=[order], draws=1000)
    assert 0.85 < width(six) / width(one) < 1.15
    blind = bootstrap_interval(share, (rows[order],), share(rows), draws=1000)
    assert width(blind) < 0.6 * width(one)


def test_an_interval_of_videos_holds_what_it_says():
    """Of 100 sets whose videos are drawn around 0, some 95 intervals hold 0; windows alone, few."""
    random = np.random.default_rng(1)
    held = {"videos": 0, "windows": 0}
    for _ in range(100):
        rows, of = of_videos(random)
        for name, videos in (("videos", [of]), ("windows", None)):
            low, high, _ = bootstrap_interval(share, (rows,), share(rows), videos=videos, draws=100)
            held[name] += low <= 0 <= high
    assert held["videos"] >= 82 and held["windows"] <= 65, held


def test_draws_have_as_many_clips_as_the_set_whatever_its_videos_have():
    sizes, of = [], np.repeat(np.arange(4), (1, 2, 3, 10))
    rows = np.arange(16.0)

    def counting(x, y):
        sizes.append((len(x), len(y)))
        return float(x.mean() + y.mean())

    bootstrap_interval(counting, (rows, rows[:5]), 0.0, videos=[of, None], draws=50)
    assert set(sizes) == {(16, 5)}


def test_clips_of_one_video_are_drawn_themselves():
    rows = np.arange(10.0)
    blind = bootstrap_interval(share, (rows,), share(rows))
    assert bootstrap_interval(share, (rows,), share(rows), videos=[np.zeros(10, int)]) == blind
    assert bootstrap_interval(share, (rows,), share(rows), videos=[np.arange(10)]) == blind


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_draws_without_the_figure_are_counted_and_left_out(wrong):
    """Of three clips that are two values, a third of the draws takes one value alone."""

    def refuses(rows):
        if len(np.unique(rows)) == 1:
            raise InputError("nothing to measure")
        return float(rows.mean())

    def breaks(rows):
        return float(rows.mean()) if len(np.unique(rows)) > 1 else wrong

    rows = np.array([1.0, 2.0, 2.0])
    found = bootstrap_interval(refuses, (rows,), share(rows), draws=200)
    assert 40 < found.undefined < 100 and np.isfinite(found[:2]).all()
    assert bootstrap_interval(breaks, (rows,), share(rows), draws=200) == found
    with pytest.raises(InputError, match="none of 200 draws"):
        bootstrap_interval(lambda rows: wrong, (rows,), 1.0)


def test_a_person_is_told_of_draws_without_the_figure():
    """PSNR has none where all frames equal their originals, as one clip of these does."""
    rows = np.array([0.0, 0.1, 0.2])[:, None, None]
    found, lines = measured(FIGURES["psnr"], {"samples": rows}, {}, {}, 0)
    assert 0 < found["undefined"] < 30 and found["floor_undefined"] == 0
    assert (
        lines[-1] == f"{found['undefined']} of 200 draws for its interval do not have it: left out"
    )
    assert "1 of 3 frames equal their originals" in lines[0]
    assert measured(FIGURES["psnr"], {"samples": rows[1:]}, {}, {}, 0)[1] == []


def test_a_comparison_draws_videos_of_real_clips_and_of_samples(tmp_path):
    """Each set's clips are windows of two videos, dark and bright, but for the plain set's."""
    frames = np.repeat(np.arange(0, 160, 20, dtype=np.uint8), 2 * 8 * 8 * 3).reshape(8, 2, 8, 8, 3)
    frames[:, 1] += np.repeat([0, 60], 4).astype(np.uint8)[:, None, None, None]
    plain = array_clips(frames, 4.0)
    cut = dataclasses.replace(plain, video=lambda i: i // 4)
    extractors = make_extractors(("change",), {})

    def compared(samples, real):
        sets = {"": Compared(samples=samples, real=real, others=real)}
        return compare(sets, ("change",), extractors=extractors, cache=None, seed=0)

    def found(samples, real):
        return compared(samples, real).figures["change"]

    both, none = found(cut, cut), found(plain, plain)
    assert both["value"] == none["value"]
    for name in ("interval", "floor_interval"):
        assert np.diff(both[name]) > 1.3 * np.diff(none[name]), name
    one = found(plain, cut)
    assert one["interval"] == none["interval"] and one["floor_interval"] == both["floor_interval"]
    assert compared(cut, plain).notes == ()
    long = dataclasses.replace(plain, video=lambda i: 0)
    (line,) = compared(long, cut).notes
    assert line == "all 8 samples are windows of one video: intervals tell nothing of others"
