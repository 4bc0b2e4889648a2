"""Settings of figures: what flags mean for clips, and what is in the recipe."""

import numpy as np
import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.evals.checks import settings_of
from vldm_jax.evals.given import Borders, Drawn, Given, Tiles
from vldm_jax.evals.of_rows import frechet_of_frames

SHAPE = (20, 32, 48)


def test_chunks_meet_where_the_next_one_has_its_first_new_frame():
    """By hand: frames 0-7, then 4 given and 4 new."""
    assert Borders(chunk=8).fixed(None, SHAPE) == [8, 16]
    assert Borders(chunk=8, overlap=4).fixed(None, SHAPE) == [8, 12, 16]
    assert Borders(listed=(9, 3, 9)).fixed(None, SHAPE) == [3, 9]


def test_tiles_meet_every_so_many_pixels():
    assert Tiles(height=16, width=20).fixed(None, SHAPE) == {"rows": [16], "columns": [20, 40]}
    assert Tiles(height=32, width=24).fixed(None, SHAPE) == {"rows": [], "columns": [24]}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (Borders(chunk=20), "--chunk 20: clips of 20 frames have borders from 1 to 19"),
        (Borders(listed=(4, 20)), "--borders 4,20: clips of 20 frames have borders from 1 to 19"),
        (Borders(chunk=1), "all of 20 frames are at a border"),
        (Tiles(height=32, width=48), "--tiles 32x48: clips of 32x48 have no border"),
        (Drawn(frames=61, seed=0), "--frames-drawn 61: 3 clips of 20 frames have 60"),
    ],
)
def test_what_does_not_fit_the_clips_is_one_line(setting, message):
    with pytest.raises(InputError, match=message):
        setting.fixed(3, SHAPE)


def test_an_overlap_is_less_than_its_chunk():
    with pytest.raises(InputError, match="--chunk 8:8: the overlap must be less than the chunk"):
        Borders(chunk=8, overlap=8)


def test_figures_get_what_is_theirs():
    given = Given(borders=Borders(chunk=8), drawn=Drawn(frames=10, seed=3))
    assert settings_of(("seam_time", "fid"), given, 2, SHAPE) == {
        "borders": [8, 16],
        "drawn": {"frames": 10, "seed": 3},
    }
    assert settings_of(("fvd", "flicker"), given, 2, SHAPE) == {}
    with pytest.raises(InputError, match="seam_space is not defined without tiles: .* --tiles HxW"):
        settings_of(("seam_space",), given, 2, SHAPE)


def test_drawn_frames_are_a_sample_of_all():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(2, 40, 6, 3)).astype(np.float32)
    whole = frechet_of_frames(x, y)
    assert frechet_of_frames(x, y, {"frames": 240, "seed": 0}) == pytest.approx(whole, rel=1e-9)
    one, again, other = (
        frechet_of_frames(x, y, {"frames": 60, "seed": seed}) for seed in (0, 0, 1)
    )
    assert one == again != other
    # A distance of equal distributions is one over the number of frames: four times as large.
    few = [frechet_of_frames(x, y, {"frames": 60, "seed": seed}) for seed in range(20)]
    assert 2 * whole < np.mean(few) < 8 * whole


def test_frames_are_drawn_without_repeating():
    rows = np.arange(24, dtype=np.float32).reshape(4, 6, 1)
    both = np.concatenate([rows, rows], axis=-1)
    whole = frechet_of_frames(both, both, {"frames": 24, "seed": 5})
    assert whole == pytest.approx(0, abs=1e-6)
