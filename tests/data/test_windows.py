import numpy as np
import pytest

from vldm_jax.data.windows import clip_windows, held_out, on_screen


def regular(count, fps):
    return np.arange(count) / fps


def whole(times):
    return np.array([[0, len(times)]])


def test_24_to_7_5_fps_takes_the_frames_on_screen():
    times = regular(100, 24)
    windows = clip_windows(times, whole(times), fps=7.5, num_frames=6, stride=6)
    # Frame number on screen at i / 7.5 s is floor(3.2 i).
    np.testing.assert_array_equal(windows[0], [0, 3, 6, 9, 12, 16])


@pytest.mark.parametrize(
    "source, wanted, step", [(30, 7.5, 4), (30, 30, 1), (24, 8, 3), (30, 2, 15)]
)
def test_whole_ratios_take_every_nth_frame(source, wanted, step):
    times = regular(120, source)
    windows = clip_windows(times, whole(times), fps=wanted, num_frames=5, stride=1)
    np.testing.assert_array_equal(np.diff(windows, axis=1), step)
    np.testing.assert_array_equal(windows[:, 0], np.arange(0, 120 - 4 * step, step))


def test_a_fraction_of_a_stride_starts_at_every_source_frame():
    times = regular(40, 30)
    windows = clip_windows(times, whole(times), fps=7.5, num_frames=4, stride=0.25)
    np.testing.assert_array_equal(windows[:, 0], np.arange(40 - 12))


def test_windows_stay_in_their_shots_and_start_with_them():
    times, shots = regular(100, 24), np.array([[0, 13], [13, 20], [20, 100]])
    windows = clip_windows(times, shots, fps=8, num_frames=4, stride=1)
    owner = np.searchsorted(shots[:, 1], windows, side="right")
    assert (owner == owner[:, :1]).all()
    assert set(owner[:, 0]) == {0, 2}  # frames 13..19 are 7, a window needs 10
    assert {0, 20} <= set(windows[:, 0])


def test_a_variable_rate_is_resampled_by_time():
    times = np.array([0.0, 0.1, 0.2, 0.6, 0.7, 1.5, 1.6, 1.7])
    np.testing.assert_array_equal(
        on_screen(times, np.array([0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5])), [0, 2, 2, 4, 4, 4, 5]
    )


def test_a_shot_that_ends_between_two_close_frames_gives_away_nothing():
    times = np.array([0, 1, 2, 3, 4, 4.01, 5, 6, 7, 8], float)  # the cut is before 4.01
    windows = clip_windows(times, np.array([[0, 5], [5, 10]]), fps=1, num_frames=5, stride=1)
    np.testing.assert_array_equal(windows[0], np.arange(5))


def test_timestamps_rounded_to_milliseconds_pick_the_same_frames():
    times = regular(300, 30)
    kwargs = dict(fps=7.5, num_frames=8, stride=1)
    np.testing.assert_array_equal(
        clip_windows(times.round(3), whole(times), **kwargs),
        clip_windows(times, whole(times), **kwargs),
    )


@pytest.mark.parametrize(
    "count, source, fps, num_frames",
    [(100, 10, 30, 4), (10, 30, 7.5, 4), (1, 30, 7.5, 2), (12, 30, 7.5, 4)],
)
def test_too_slow_or_too_short_gives_no_window(count, source, fps, num_frames):
    times = regular(count, source)
    windows = clip_windows(times, whole(times), fps=fps, num_frames=num_frames, stride=1)
    assert windows.shape == (0, num_frames)


def test_ntsc_serves_30_fps():
    times = regular(90, 30000 / 1001)
    windows = clip_windows(times, whole(times), fps=30, num_frames=16, stride=16)
    np.testing.assert_array_equal(windows[0], np.arange(16))


def test_one_frame_needs_one_frame():
    windows = clip_windows(np.zeros(1), np.array([[0, 1]]), fps=8, num_frames=1, stride=1)
    np.testing.assert_array_equal(windows, [[0]])


def test_held_out_is_a_stable_fraction():
    test = [held_out(f"{i}.mp4", 0, 0.2) for i in range(2000)]
    assert 0.17 < np.mean(test) < 0.23
    more = [held_out(f"{i}.mp4", 0, 0.3) for i in range(2000)]
    assert all(b for a, b in zip(test, more, strict=True) if a)  # a larger part contains a smaller
    assert not any(held_out(f"{i}.mp4", 0, 0.0) for i in range(100))
    assert all(held_out(f"{i}.mp4", 0, 1.0) for i in range(100))
