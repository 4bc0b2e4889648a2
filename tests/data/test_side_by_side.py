"""Sets beside each other: every pixel where its set and sample say, under the set's title."""

import av
import numpy as np
import pytest
from PIL import Image

from vldm_jax.core.errors import InputError
from vldm_jax.data.side_by_side import (
    GAP,
    LINE,
    fitted,
    side_by_side,
    titled,
    write_columns_sheet,
    write_side_by_side,
)

RANDOM = np.random.default_rng(0)
SETS = {
    name: RANDOM.integers(0, 256, (2, 5, 16, 24, 3), dtype=np.uint8) for name in ("A one", "B two")
}


def test_every_pixel_is_where_its_set_and_sample_say():
    frames = side_by_side(SETS, scale=2)
    assert frames.shape == (5, LINE + 2 * (2 * 16 + 2), 2 * 2 * 24 + GAP, 3)
    for column, videos in enumerate(SETS.values()):
        for row, video in enumerate(videos):
            top, left = LINE + row * (16 + 2) * 2, column * (2 * 24 + GAP)
            cell = frames[:, top : top + 32, left : left + 48]
            np.testing.assert_array_equal(cell[:, ::2, ::2], video)
            np.testing.assert_array_equal(cell[:, 1::2, 1::2], video)


def test_titles_are_there_and_differ():
    video = SETS["A one"][0]
    heads = [titled(video, title, scale=4)[0, :LINE] for title in ("", "A one", "B two")]
    assert heads[0].max() == heads[0].min()
    assert all(head.max() > 200 for head in heads[1:])
    assert (heads[1] != heads[2]).any()


def test_a_title_that_is_too_long_ends_in_its_cell():
    assert fitted("short", 100) == "short"
    cut = fitted("a/very/long/path/of/a/run/that/does/not/fit", 100)
    assert cut.startswith("a/very") and cut.endswith("...") and len(cut) < 20


def test_a_short_video_is_repeated_until_one_can_look_at_it(tmp_path):
    write_side_by_side(tmp_path / "a.mp4", SETS, 10.0)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].frames == 40


def test_a_sheet_has_a_row_a_sample_and_a_column_a_set(tmp_path):
    write_columns_sheet(tmp_path / "a.png", SETS, ["0  night", "1  day"], scale=1)
    with Image.open(tmp_path / "a.png") as image:
        sheet = np.asarray(image)
    for videos in SETS.values():
        for video in videos:
            for picked in (0, 4):
                windows = np.lib.stride_tricks.sliding_window_view(sheet, (16, 24, 3))[:, :, 0]
                assert (windows == video[picked]).all(axis=(2, 3, 4)).sum() == 1


def test_a_sheet_of_some_frames_says_which(tmp_path, monkeypatch):
    heads = []

    def sheet(path, videos, labels, *, columns):
        heads.append(list(columns))

    monkeypatch.setattr("vldm_jax.data.side_by_side.write_contact_sheet", sheet)
    write_columns_sheet(tmp_path / "a.png", SETS, ["0", "1"], scale=8)
    write_columns_sheet(tmp_path / "a.png", SETS, ["0", "1"], scale=4)
    assert heads == [["A one   frames 1, 5 of 5", "B two   frames 1, 5 of 5"], list(SETS)]


def test_sets_of_several_shapes_are_refused():
    with pytest.raises(InputError, match="must be of one shape, got"):
        side_by_side(SETS | {"C": SETS["A one"][:, :4]})
