"""Real clips in two halves: how many, and with no video in both."""

import dataclasses

import numpy as np
import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.evals.clips import array_clips
from vldm_jax.evals.halves import ONE_VIDEO, real_halves


def clips(count, videos=None):
    """Clips of so many frames' number, cut from the videos of these numbers."""
    values = np.broadcast_to(np.arange(count)[:, None, None, None, None], (count, 1, 1, 1, 3))
    made = array_clips(np.uint8(values), 8)
    if videos is None:
        return made
    return dataclasses.replace(made, video=lambda i: int(videos[i]))


@pytest.mark.parametrize(
    ("samples", "real", "asked", "count"),
    [(100, 240, None, 100), (100, 120, None, 60), (None, 120, None, 60), (100, 240, 50, 50)],
)
def test_real_clips_are_taken_twice(samples, real, asked, count):
    halves = real_halves(clips(real))
    assert halves.of_each(samples, asked)[0] == count
    one, other = halves.sets(count)
    seen = [{int(clip[0, 0, 0, 0]) for clip in half} for half in (one, other)]
    assert [len(half) for half in seen] == [count, count] and not seen[0] & seen[1]


def test_what_is_not_used_is_said():
    _, line = real_halves(clips(130)).of_each(100, 60)
    assert "60 samples against 60 real clips, 60 others for the floor" in line
    assert "; not used: 40 samples and 10 real clips" in line


@pytest.mark.parametrize(
    ("samples", "real", "asked", "message"),
    [
        (100, 120, 61, "there are 100 samples, 120 real clips: ask for at most 60"),
        (10, 120, 11, "ask for at most 10"),
        (1, 120, None, "1 sample, 120 real clips are too few"),
        (None, 3, None, "3 real clips are too few: .* 2 real clips in each of two halves"),
    ],
)
def test_too_few_is_one_line(samples, real, asked, message):
    with pytest.raises(InputError, match=message):
        real_halves(clips(real)).of_each(samples, asked)


@pytest.mark.parametrize("seed", range(5))
def test_no_video_is_in_both_halves_and_they_are_as_even_as_videos_allow(seed):
    random = np.random.default_rng(seed)
    sizes = random.integers(1, 9, 20)
    videos = random.permutation(np.repeat(np.arange(20), sizes))
    halves = real_halves(clips(len(videos), videos))
    one, other = ({int(videos[i]) for i in half} for half in (halves.one, halves.other))
    assert not one & other and one | other == set(range(20))
    assert abs(len(halves.one) - len(halves.other)) <= 1
    # In their drawn order: a smaller set is the beginning of a larger one.
    assert (np.diff(halves.one) > 0).all() and (np.diff(halves.other) > 0).all()


def test_windows_of_one_video_alone_make_a_floor_that_is_said_to_be_low():
    halves = real_halves(clips(9, np.zeros(9, int)))
    assert halves.notes == (ONE_VIDEO,) and halves.of_each(None, None)[0] == 4


def test_without_a_floor_all_clips_are_compared_with():
    halves = real_halves(clips(9, np.arange(9) // 3), floor=False)
    count, line = halves.of_each(20, None)
    assert count == 9 and "no floor" in line and halves.sets(9)[1] is None


def test_a_folder_says_which_video_a_clip_is_cut_from(tmp_path):
    from vldm_jax.data.write import write_video
    from vldm_jax.evals.clips import folder_clips

    for number in range(3):
        shade = np.full((12, 16, 16, 3), 80 * number + 20, np.uint8)
        write_video(tmp_path / f"{number}.mp4", shade, 8)
    made = folder_clips(
        tmp_path, shape=(4, 16, 16), fps=8, windows="all", seed=1, index=tmp_path / "scan.json"
    )
    assert made.count == 9
    for i in range(9):
        assert made.video(i) == round((made.read(i).mean() - 20) / 80)
