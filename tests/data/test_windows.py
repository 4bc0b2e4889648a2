import numpy as np
import pytest

from vldm_jax.data.windows import clip_windows, even_runs, held_out, on_screen


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


def no_repeats(windows):
    return (np.diff(windows, axis=1) > 0).all()


def test_where_a_recording_stands_still_it_gives_no_window():
    """Its mean rate, 7.7 fps, is above 7.5; its second part has a frame a second."""
    times = np.concatenate([np.arange(100) / 30, 100 / 30 + np.arange(12)])
    windows = clip_windows(times, whole(times), fps=7.5, num_frames=8, stride=1)
    assert no_repeats(windows) and windows.max() <= 100
    np.testing.assert_array_equal(windows[:, 0], np.arange(0, 73, 4))  # 28 frames from each


def test_the_good_half_of_a_slow_video_gives_its_windows():
    """Its mean rate, 2.2 fps, is far below 15."""
    times = np.concatenate([np.arange(60), 60 + np.arange(60) / 30])
    windows = clip_windows(times, whole(times), fps=15, num_frames=8, stride=1)
    assert len(windows) > 15 and no_repeats(windows) and windows.min() >= 59


def test_no_window_ever_repeats_a_frame():
    rng = np.random.default_rng(0)
    for _ in range(300):
        steps = rng.choice(
            [1 / 60, 1 / 30, 0.04, 0.5, 3], rng.integers(1, 120), p=[0.3, 0.3, 0.2, 0.1, 0.1]
        )
        times = np.concatenate([[0], np.cumsum(steps)])
        fps, stride = rng.choice([2, 7.5, 24, 30, 60, 1000]), rng.choice([0.01, 0.25, 1, 4])
        for num_frames in (1, 2, 8):
            windows = clip_windows(
                times, whole(times), fps=fps, num_frames=num_frames, stride=stride
            )
            assert no_repeats(windows) and len(np.unique(windows[:, 0])) == len(windows)
            span = times[windows[:, -1]] - times[windows[:, 0]]
            off = np.abs(span - (num_frames - 1) / fps)
            assert (off <= 0.021 * span + np.diff(times).max()).all()


def test_hardly_slower_frames_are_taken_one_by_one():
    """29.97 for 30: after 33 s the frame at a multiple of 1/30 has been shown before."""
    times = regular(3000, 30000 / 1001).round(3)
    windows = clip_windows(times, whole(times), fps=30, num_frames=256, stride=64)
    assert len(windows) == 43
    np.testing.assert_array_equal(np.diff(windows, axis=1), 1)


def test_two_frames_of_a_slower_video_are_no_window():
    times = regular(100, 24)
    windows = clip_windows(times, whole(times), fps=30, num_frames=2, stride=0.25)
    assert len(windows) == 0


@pytest.mark.parametrize("fps, stride", [(1e12, 1), (1e300, 1), (8, 1e-12), (60, 1)])
def test_there_are_never_more_windows_than_frames(fps, stride):
    times = regular(50, 30)
    images = clip_windows(times, whole(times), fps=fps, num_frames=1, stride=stride)
    np.testing.assert_array_equal(images[:, 0], np.arange(50))
    assert len(clip_windows(times, whole(times), fps=fps, num_frames=10**6, stride=stride)) == 0


def test_even_runs_break_where_a_frame_would_come_twice():
    times = np.concatenate([np.arange(20) / 30, 20 / 30 + np.arange(5), 6 + np.arange(20) / 30])
    runs = even_runs(times, 0, len(times), fps=15)
    assert all(no_repeats(run[None]) for run in runs)
    assert sorted(len(run) for run in runs)[-2:] == [10, 11]
    starts = [run[0] for run in runs if len(run) > 5]
    assert starts == [0, 25]


def test_even_runs_of_a_steady_video_are_one():
    (run,) = even_runs(regular(60, 30), 10, 50, fps=7.5)
    np.testing.assert_array_equal(run, np.arange(10, 50, 4))


@pytest.mark.parametrize("fps", [1e12, 1e300])
def test_even_runs_at_an_absurd_rate_take_no_memory(fps):
    assert sum(map(len, even_runs(regular(50, 30), 0, 50, fps=fps))) == 50


def test_a_name_that_is_not_utf8_has_a_side_too():
    names = [f"caf\udce9{i}.mp4" for i in range(200)]
    assert 0.1 < np.mean([held_out(name, 0, 0.2) for name in names]) < 0.3
