"""Folders of anybody's videos as sets of clips, and their numbers kept by content."""

import dataclasses

import numpy as np
import pytest
from moving_scenes import SIZE, scene

from vldm_jax.core.errors import InputError
from vldm_jax.data.write import write_video
from vldm_jax.evals.clips import array_clips, digest_of_set, folder_clips, look
from vldm_jax.evals.extract import Extractor, extract


@pytest.fixture
def folder(tmp_path):
    """Three good videos of 20 frames, one too short, one too small, one damaged, one of 16 fps."""
    place = tmp_path / "videos"
    for number in range(3):
        write_video(place / f"{number}.mp4", scene(20, number), 8)
    write_video(place / "short.mp4", scene(4, 7), 8)
    write_video(place / "small.mp4", scene(20, 8, (16, 24)), 8)
    write_video(place / "fast.mp4", scene(40, 9), 16)
    whole = (place / "0.mp4").read_bytes()
    (place / "damaged.mp4").write_bytes(whole[: len(whole) // 2])
    return place


def clips_of(folder, tmp_path, **changes):
    settings = {"shape": (6, *SIZE), "fps": 8.0, "windows": "all", "seed": 0} | changes
    return folder_clips(folder, index=tmp_path / "scan.json", **settings)


def test_what_gives_no_clip_is_named_by_its_reason(folder, tmp_path):
    clips = clips_of(folder, tmp_path)
    assert clips.count == 4 * 3  # 20 frames are three clips of 6, 40 at twice the rate as well
    assert dict(clips.left_out) == {
        "truncated": ("damaged.mp4",),
        "too short for 6 frames at 8 fps": ("short.mp4",),
        "smaller than 32x48": ("small.mp4",),
    }
    assert any("16 fps" in note or "8, 16 fps" in note for note in clips.notes)
    for clip in clips:
        assert clip.shape == (6, *SIZE, 3) and clip.dtype == np.uint8


def test_windows_all_one_and_first(folder, tmp_path):
    places = {kind: clips_of(folder, tmp_path, windows=kind) for kind in ("all", "one", "first")}
    assert [clips.count for clips in places.values()] == [12, 4, 4]
    first = {clips.describe(i) for clips in [places["first"]] for i in range(4)}
    assert first == {f"{name}.mp4 at 0.00 s" for name in ("0", "1", "2", "fast")}
    seeds = [
        sorted(clips.describe(i) for i in range(4))
        for clips in (clips_of(folder, tmp_path, windows="one", seed=seed) for seed in (0, 0, 1))
    ]
    assert seeds[0] == seeds[1] != seeds[2]
    starts = {float(text.split()[-2]) for text in sum(seeds, [])}
    assert any(start % (6 / 8) > 0.05 for start in starts)  # not where the clips of "all" begin
    with pytest.raises(InputError, match="windows 'some' is unknown: choose one of all, one"):
        clips_of(folder, tmp_path, windows="some")


def test_larger_videos_are_resized_and_said(folder, tmp_path):
    clips = clips_of(folder, tmp_path, shape=(6, 16, 24))
    assert clips.read(0).shape == (6, 16, 24, 3)
    assert any("4 of 5 videos are 32x48: cut and resized to 16x24" in n for n in clips.notes)


def test_a_look_at_a_folder(folder, tmp_path):
    seen = look(folder, tmp_path / "scan.json")
    assert (seen.height, seen.width, seen.fps, seen.frames) == (*SIZE, 8.0, 4)
    assert dict(seen.kinds) == {(SIZE, 8.0): 4, ((16, 24), 8.0): 1, (SIZE, 16.0): 1}


def test_sets_of_the_same_clips_have_one_sum_whatever_their_order():
    assert digest_of_set(["b", "a"]) == digest_of_set(["a", "b"]) != digest_of_set(["a", "a"])


# Numbers of clips.


class Counting:
    """Means of a clip's frames; counts the clips that it is given."""

    def __init__(self):
        self.seen = 0

    def __call__(self, videos):
        self.seen += len(videos)
        return videos.mean(axis=(2, 3)).astype(np.float32)


def extractor(compute, **recipe):
    return Extractor(name="means", compute=compute, recipe={"of": "frames", **recipe}, batch=4)


CLIPS = array_clips(np.stack([scene(5, seed) for seed in range(10)]), 8)


def test_numbers_are_those_of_each_clip_whatever_the_batch(tmp_path):
    found = extract(extractor(Counting()), CLIPS, cache=None)
    np.testing.assert_allclose(found.rows, [clip.mean(axis=(1, 2)) for clip in CLIPS], rtol=1e-5)
    assert found.recalled == 0 and len(set(found.digests)) == 10


def test_numbers_of_clips_that_none_sees_again_are_not_kept(tmp_path):
    """Whatever was kept of them before is taken, as of any clip."""
    compute, seen_once = Counting(), dataclasses.replace(CLIPS, kept=False)
    whole = extract(extractor(compute), CLIPS.picked(np.arange(6)), cache=tmp_path)
    found = extract(extractor(compute), seen_once.picked(np.arange(10)), cache=tmp_path)
    assert found.recalled == 6 and len(list(tmp_path.rglob("*.npy"))) == 6
    np.testing.assert_array_equal(found.rows[:6], whole.rows)
    assert extract(extractor(compute), CLIPS, cache=tmp_path).recalled == 6


def test_a_second_time_costs_what_is_new(tmp_path):
    compute = Counting()
    first = extract(extractor(compute), CLIPS.picked(np.arange(6)), cache=tmp_path)
    assert compute.seen == 8  # two batches of four, the last one filled up
    compute.seen = 0
    again = extract(extractor(compute), CLIPS, cache=tmp_path)
    assert compute.seen == 4 and again.recalled == 6
    np.testing.assert_array_equal(again.rows[:6], first.rows)
    compute.seen = 0
    assert extract(extractor(compute), CLIPS, cache=tmp_path).recalled == 10
    assert compute.seen == 0


def test_another_recipe_and_another_clip_are_computed(tmp_path):
    extract(extractor(Counting()), CLIPS, cache=tmp_path)
    compute = Counting()
    other = extractor(compute, filter="bicubic")
    assert extract(other, CLIPS, cache=tmp_path).recalled == 0
    changed = np.stack(list(CLIPS))
    changed[3, 0, 0, 0, 0] ^= 1
    found = extract(extractor(compute), array_clips(changed, 8), cache=tmp_path)
    assert found.recalled == 9


def test_a_damaged_file_of_numbers_is_made_again(tmp_path):
    extract(extractor(Counting()), CLIPS, cache=tmp_path)
    files = sorted(tmp_path.rglob("*.npy"))
    files[0].write_bytes(files[0].read_bytes()[:90])
    files[1].write_bytes(b"")
    np.save(files[2], np.full((5, 3), np.nan, np.float32))
    found = extract(extractor(Counting()), CLIPS, cache=tmp_path)
    assert found.recalled == 7
    np.testing.assert_allclose(found.rows, [clip.mean(axis=(1, 2)) for clip in CLIPS], rtol=1e-5)


def test_a_clip_whose_numbers_are_not_finite_is_named():
    def broken(videos):
        rows = Counting()(videos)
        rows[videos[:, 0, 0, 0, 0] == CLIPS.read(5)[0, 0, 0, 0]] = np.nan
        return rows

    with pytest.raises(InputError, match="means of clip 5 is not a finite number"):
        extract(extractor(broken), CLIPS, cache=None)
