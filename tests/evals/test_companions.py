"""Videos of two folders that belong together by their names, and their captions."""

import numpy as np
import pytest
from moving_scenes import SIZE, scene

from vldm_jax.core.errors import InputError
from vldm_jax.data.write import write_video
from vldm_jax.evals.captions import Captions
from vldm_jax.evals.clips import array_clips, folder_clips
from vldm_jax.evals.companions import with_captions, with_references
from vldm_jax.evals.sets import left_out_lines


@pytest.fixture
def folders(tmp_path):
    """Two good pairs, and one of each kind that is none."""
    for name in ("a", "sub/b", "longer", "faster", "wider", "alone"):
        write_video(tmp_path / "made" / f"{name}.mp4", scene(12, len(name)), 8)
    write_video(tmp_path / "real" / "a.mp4", scene(12, 1), 8)
    (tmp_path / "real" / "a.mp4").rename(tmp_path / "real" / "a.mov")
    write_video(tmp_path / "real" / "sub" / "b.mp4", scene(12, 5, (64, 96)), 8)
    write_video(tmp_path / "real" / "longer.mp4", scene(16, 6), 8)
    write_video(tmp_path / "real" / "faster.mp4", scene(12, 6), 12)
    write_video(tmp_path / "real" / "wider.mp4", scene(12, 5, (32, 64)), 8)
    write_video(tmp_path / "real" / "spare.mp4", scene(12, 9), 8)
    return tmp_path


def samples(place, windows="all"):
    return folder_clips(
        place / "made", shape=(6, *SIZE), fps=8.0, windows=windows, seed=0,
        index=place / "made.json", cuts=False,
    )  # fmt: skip


def test_a_sample_is_paired_by_name_with_the_same_frames(folders):
    paired = with_references(samples(folders), folders / "real", folders / "real.json")
    assert paired.count == 4  # two windows of two videos
    seen = {}
    for i in range(paired.count):
        clip, reference = paired.read(i), paired.beside["reference"](i)
        assert reference.shape == clip.shape
        # The two are the same scene: between them is the codec, and between frames is motion.
        apart, later = (np.abs(clip[: 6 - n].astype(int) - reference[n:]).mean() for n in (0, 1))
        assert apart < later / 2
        seen[paired.describe(i)] = paired.place(i).entry.name
    assert sorted(seen) == [
        "a.mp4 at 0.00 s", "a.mp4 at 0.75 s", "sub/b.mp4 at 0.00 s", "sub/b.mp4 at 0.75 s",
    ]  # fmt: skip
    assert dict(paired.left_out) == {
        "no reference of that name": ("alone.mp4",),
        "not as many frames as its reference": ("longer.mp4",),
        "not at the rate of its reference": ("faster.mp4",),
        "not of the aspect of its reference": ("wider.mp4",),
        "a reference without a sample": ("spare.mp4",),
    }
    assert paired.notes == ("1 reference is larger than 32x48: resized",)


def test_a_sample_that_gives_no_clip_leaves_no_reference_over(folders):
    write_video(folders / "made" / "short.mp4", scene(3, 5), 8)
    write_video(folders / "real" / "short.mp4", scene(3, 5), 8)
    paired = with_references(samples(folders), folders / "real", folders / "real.json")
    assert paired.left_out["a reference without a sample"] == ("spare.mp4",)
    assert "1 reference has no sample of that name: spare.mp4" in left_out_lines(paired)


def test_a_picked_pair_stays_a_pair(folders):
    paired = with_references(samples(folders), folders / "real", folders / "real.json")
    turned = paired.picked(np.arange(paired.count)[::-1])
    for i in range(4):
        np.testing.assert_array_equal(
            turned.beside["reference"](i), paired.beside["reference"](3 - i)
        )


def test_a_reference_that_is_smaller_is_none(folders):
    large = folder_clips(
        folders / "real" / "sub", shape=(6, 64, 96), fps=8.0, windows="all", seed=0,
        index=folders / "large.json", cuts=False,
    )  # fmt: skip
    (folders / "small").mkdir()
    write_video(folders / "small" / "b.mp4", scene(12, 5), 8)
    with pytest.raises(InputError, match="no video .* compared with .*smaller than 64x96"):
        with_references(large, folders / "small", folders / "small.json")


def test_two_references_of_one_name_are_refused(folders):
    write_video(folders / "real" / "a.mp4", scene(12, 1), 8)
    with pytest.raises(InputError, match="a.mov and a.mp4 have one name"):
        with_references(samples(folders), folders / "real", folders / "real.json")


def test_captions_are_those_of_the_videos(folders):
    table = Captions(table={"a": ("red",), "sub/b.mp4": ("green",), "longer": ("blue",)})
    told = with_captions(samples(folders), table, seed=0)
    found = {told.place(i).entry.name: told.beside["caption"](i) for i in range(told.count)}
    assert found == {"a.mp4": "red", "sub/b.mp4": "green", "longer.mp4": "blue"}
    lacking = ("alone.mp4", "faster.mp4", "wider.mp4")
    assert told.count == 6 and dict(told.left_out) == {"no caption": lacking}


def test_clips_of_no_folder_have_nothing_beside_them():
    clips = array_clips(np.zeros((1, 6, *SIZE, 3), np.uint8), 8)
    with pytest.raises(InputError, match="clip 0 is of no folder"):
        with_captions(clips, Captions(table={}), seed=0)
