"""Files whose timestamps do not simply increase: every frame once, in order, at the right time."""

from fractions import Fraction

import numpy as np
import pytest
from synthetic_videos import encode, join, number_of, numbered, packed, retimed, steady

from vldm_jax.data import opening, read, screen, seeking, truncation
from vldm_jax.data.faults import Fault
from vldm_jax.data.opening import fraction
from vldm_jax.data.read import VideoError, read_frames, scan
from vldm_jax.data.shots import find_shots
from vldm_jax.data.timestamps import COUNTED, timeline
from vldm_jax.data.windows import clip_windows

MILLI = Fraction(1, 1000)


def numbers(path, pts):
    return [number_of(frame) for frame in read_frames(path, pts)]


def check_every_start(path, shown):
    """Whatever frame reading begins with, it and those behind it are the right ones."""
    video, _ = scan(path)
    assert numbers(path, video.pts) == shown
    for first in range(len(shown)):
        rows = np.unique(np.minimum(first + np.array([0, 1, 4]), len(shown) - 1))
        assert numbers(path, video.pts[rows]) == [shown[row] for row in rows]
    return video


def test_packed_b_frames_of_an_avi(tmp_path):
    packed(tmp_path / "p.avi", numbered(30))
    video = check_every_start(tmp_path / "p.avi", [*range(30)])
    np.testing.assert_allclose(video.times, np.arange(30) / 25)


@pytest.mark.parametrize(
    "codec, options",
    [
        ("libx264", {"x264-params": "keyint=10:bframes=3:b-adapt=0:b-pyramid=normal"}),
        ("mpeg4", {"bf": "2", "g": "10"}),
    ],
)
def test_an_avi_that_stores_the_order_of_decoding(tmp_path, codec, options):
    steady(tmp_path / "b.avi", numbered(30), codec=codec, options=options)
    video = check_every_start(tmp_path / "b.avi", [*range(30)])
    np.testing.assert_allclose(video.times, np.arange(30) / 25)


KEYS = {"g": "6"}
FORMATS = {
    "mp4": ("libx264", KEYS | {"bf": "3"}),
    "mkv": ("libx264", KEYS | {"bf": "3", "x264-params": "open-gop=1"}),
    "webm": ("libvpx", KEYS),
    "flv": ("libx264", KEYS),
    "wmv": ("wmv2", KEYS),
    "mxf": ("mpeg2video", KEYS | {"bf": "2"}),
    "mpg": ("mpeg1video", KEYS | {"bf": "2"}),
    "vob": ("mpeg2video", KEYS | {"bf": "2"}),
    "mod": ("mpeg2video", KEYS | {"bf": "2"}),
    "ts": ("mpeg2video", KEYS | {"bf": "2"}),
    "mts": ("libx264", KEYS),
    "m1v": ("mpeg1video", KEYS | {"bf": "2"}),
    "y4m": ("wrapped_avframe", {}),
    "gif": ("gif", {}),
}


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_frame_is_the_same_wherever_reading_begins(tmp_path, suffix):
    codec, options = FORMATS[suffix]
    format = {"mts": "mpegts", "mod": "vob", "m1v": "mpeg1video"}.get(suffix)
    pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
    path = tmp_path / f"f.{suffix}"
    steady(path, numbered(26), codec=codec, options=options, format=format, pix_fmt=pix_fmt)
    check_every_start(path, [*range(26)])


@pytest.mark.parametrize("suffix", ["ts", "mpg", "mkv"])
def test_joined_recordings_whose_times_start_again(tmp_path, suffix):
    parts = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    codec = "libx264" if suffix == "mkv" else "mpeg2video"
    steady(parts[0], numbered(24), codec=codec, options={"bf": "2"})
    steady(parts[1], numbered(44)[24:], codec=codec, options={"bf": "2"})
    joined = tmp_path / f"ab.{suffix}"
    join(joined, *parts)
    video = check_every_start(joined, [*range(44)])
    assert any("start again" in note for note in video.notes)
    np.testing.assert_allclose(np.delete(np.diff(video.times), 23), 1 / 25, atol=1e-3)
    windows = clip_windows(video.times, np.array([[0, 44]]), fps=5, num_frames=3, stride=0.2)
    sides = windows >= 24
    assert sides.any() and not sides.all()
    assert (sides == sides[:, :1]).all()  # none reaches over the join


@pytest.mark.parametrize("suffix, codec", [("mp4", "libx264"), ("flv", "flv"), ("wmv", "wmv2")])
def test_of_joined_files_that_are_no_recordings_the_first_is_read_and_that_is_said(
    tmp_path, suffix, codec
):
    path = tmp_path / f"a.{suffix}"
    steady(path, numbered(60, 64, 128), codec=codec)
    assert check_every_start(path, [*range(60)]).notes == ()
    join(tmp_path / f"aa.{suffix}", path, path)
    video = check_every_start(tmp_path / f"aa.{suffix}", [*range(60)])
    assert any("joined to its end" in note for note in video.notes)


def test_joined_recordings_whose_times_jump_ahead(tmp_path):
    steady(tmp_path / "a.ts", numbered(24))
    later = {"output_ts_offset": "500", "mpegts_copyts": "1"}
    steady(tmp_path / "b.ts", numbered(44)[24:], muxing=later)
    join(tmp_path / "ab.ts", tmp_path / "a.ts", tmp_path / "b.ts")
    video = check_every_start(tmp_path / "ab.ts", [*range(44)])
    assert np.diff(video.times)[23] > 400


def test_a_clock_that_wraps(tmp_path):
    start = 2**33 / 90000 - 0.5
    wrapping = {"mpegts_copyts": "1", "output_ts_offset": str(start)}
    steady(tmp_path / "w.ts", numbered(40), options={"g": "8"}, muxing=wrapping)
    video = check_every_start(tmp_path / "w.ts", [*range(40)])
    np.testing.assert_allclose(np.diff(video.times), 1 / 25, atol=1e-4)


def test_of_frames_with_one_time_the_last_is_shown(tmp_path):
    times = [0, 40, 80, 80, 160, 200, 200, 200, 280]
    retimed(tmp_path / "r.mkv", numbered(9), times)
    video = check_every_start(tmp_path / "r.mkv", [0, 1, 3, 4, 7, 8])
    np.testing.assert_allclose(video.times, [0, 0.04, 0.08, 0.16, 0.2, 0.28])
    _, thumbnails = scan(tmp_path / "r.mkv")
    assert len(thumbnails) == 6 and find_shots(thumbnails)[-1, 1] == 6


@pytest.mark.parametrize("suffix", ["h264", "hevc"])
def test_a_stream_without_any_times_says_how_to_get_some(tmp_path, suffix):
    codec = "libx264" if suffix == "h264" else "libx265"
    options = {} if suffix == "h264" else {"x265-params": "log-level=none"}
    steady(tmp_path / f"s.{suffix}", numbered(5), codec=codec, options=options)
    with pytest.raises(VideoError, match=r"no timestamps .*ffmpeg -r .* -c copy") as caught:
        scan(tmp_path / f"s.{suffix}")
    assert caught.value.reason == "no timestamps"


def ticks(labels):
    line = timeline(labels, MILLI)
    return (line.ticks - line.ticks[0]).tolist()


def test_orderly_times_stay_and_name_their_frames():
    line = timeline([7, 47, 87, 140], MILLI)
    assert line.ticks.tolist() == line.names.tolist() == [7, 47, 87, 140]
    assert line.shown.tolist() == [0, 1, 2, 3] and line.parts == 1


def test_the_order_of_decoding_is_sorted_but_keeps_its_names():
    line = timeline([40, 120, 80, 200, 160, 240], MILLI)
    assert line.ticks.tolist() == [40, 80, 120, 160, 200, 240]
    assert line.names.tolist() == [40, 120, 80, 200, 160, 240]


@pytest.mark.parametrize(
    "labels, expected",
    [
        ([0, 40, None, 120], [0, 40, 80, 120]),
        ([None, None, 80, 120, 160], [0, 40, 80, 120, 160]),
        ([0, 40, 80, 120, None, None], [0, 40, 80, 120, 160, 200]),
        ([0, 40, 90_000, 120, 160], [0, 40, 80, 120, 160]),
        ([100_000, 100_040, 0, 100_120, 100_160], [0, 40, 80, 120, 160]),
        ([0, 40, 2**62, 120, 160], [0, 40, 80, 120, 160]),
        ([0, 40, 80, 5_000, 5_040], [0, 40, 80, 5_000, 5_040]),
        ([7], [0]),
    ],
)
def test_missing_and_stray_times_lie_between_their_neighbours(labels, expected):
    assert ticks(labels) == expected


def test_parts_follow_each_other_at_a_distance_and_are_counted():
    line = timeline([0, 40, 80, 0, 40, 80, 0, 40], MILLI)
    assert line.parts == 3
    assert np.diff(line.ticks).tolist() == [40, 40, 10_000, 40, 40, 10_000, 40]
    np.testing.assert_array_equal(line.names, COUNTED + np.arange(8))


def test_a_part_before_the_first_keeps_its_own_names():
    line = timeline([9000, 9040, 9080, 0, 40, 80], MILLI)
    assert np.diff(line.ticks).tolist() == [40, 40, 10_000, 40, 40]
    assert line.names.tolist() == [9000, 9040, 9080, 0, 40, 80]


@pytest.mark.parametrize("labels", [[None] * 4, [0, None, None, None], [5, 5, 5], [None]])
def test_too_little_is_known_of_the_times(labels):
    with pytest.raises(Fault, match="no timestamps"):
        timeline(labels, MILLI)


def test_random_times_always_give_a_strictly_increasing_line():
    rng = np.random.default_rng(0)
    for _ in range(300):
        labels = (40 * np.arange(rng.integers(3, 60))).tolist()
        for _ in range(rng.integers(0, 6)):
            place = rng.integers(len(labels))
            labels[place] = [None, 0, 40 * int(rng.integers(99)), 10**9][rng.integers(4)]
        if labels.count(None) * 2 >= len(labels) or len({*labels} - {None}) < 2:
            continue
        line = timeline(labels, MILLI)
        assert (np.diff(line.ticks) > 0).all() and (np.diff(line.shown) > 0).all()
        assert len(set(line.names.tolist())) == len(line.names)


def test_rationals_need_not_be_fractions(tmp_path, monkeypatch):
    """PyAV 19 has a class of its own for them, of which only the two numbers are used here."""

    class Rational:
        def __init__(self, value):
            self.numerator, self.denominator = value.numerator, value.denominator

    encode(tmp_path / "a.mkv", numbered(4), np.arange(4) / 25)
    for module in (opening, read, screen, seeking, truncation):
        monkeypatch.setattr(module, "fraction", lambda value: fraction(value and Rational(value)))
    video = check_every_start(tmp_path / "a.mkv", [0, 1, 2, 3])
    assert video.time_base == MILLI and isinstance(video.time_base, Fraction)
