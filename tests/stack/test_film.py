"""Frames become one mp4 of segments, whatever parts they come in; a stopped one goes on."""

import itertools

import numpy as np
import pytest

from vldm_jax.stack import film
from vldm_jax.stack.film import shown, write_film

COUNT = 23
LEVELS = np.linspace(20, 230, 40).astype(np.uint8)  # of a frame, which tells its number
ALL = np.broadcast_to(LEVELS[:, None, None, None], (40, 16, 16, 3))


@pytest.fixture(autouse=True)
def _short_segments(monkeypatch):
    monkeypatch.setattr(film, "SEGMENT", 8)


def in_parts(sizes, asked=None):
    """A film whose frames come in parts of these sizes, again and again."""

    def give(start):
        if asked is not None:
            asked.append(start)
        for size in itertools.cycle(sizes):
            if start >= len(ALL):
                return
            yield ALL[start : start + size]
            start += size

    return give


@pytest.mark.parametrize("sizes", [(1,), (3, 5), (8,), (30,), (40,)])
def test_a_film_has_its_frames_once_and_in_order(tmp_path, sizes):
    said = []
    write_film(in_parts(sizes), COUNT, 30.0, tmp_path / "film.mp4", said.append)
    assert said == [8, 16, 23]
    assert [file.name for file in tmp_path.iterdir()] == ["film.mp4"]
    frames = film.read_folder(tmp_path / "film.mp4", cuts=False).entries[0]
    assert len(frames.video.times) == COUNT
    made = film.decode_clip(frames, np.arange(COUNT), 16, 16).mean((1, 2, 3))
    np.testing.assert_allclose(made, LEVELS[:COUNT], atol=2)


def test_a_film_goes_on_after_its_last_segment(tmp_path):
    write_film(in_parts((3,)), COUNT, 30.0, tmp_path / "whole.mp4", lambda count: None)

    def stop(count):
        if count == 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_film(in_parts((5,)), COUNT, 30.0, tmp_path / "film.mp4", stop)
    asked = []
    write_film(in_parts((5,), asked), COUNT, 30.0, tmp_path / "film.mp4", lambda count: None)
    assert asked == [16]
    assert (tmp_path / "film.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


def test_a_film_that_was_joined_leaves_no_segment(tmp_path):
    write_film(in_parts((8,)), COUNT, 30.0, tmp_path / "film.mp4", lambda count: None)
    whole = (tmp_path / "film.mp4").read_bytes()
    (tmp_path / "film.00000008.mp4").write_bytes(b"left by a run that was killed")
    write_film(in_parts((8,)), COUNT, 30.0, tmp_path / "film.mp4", lambda count: None)
    assert [file.name for file in tmp_path.iterdir()] == ["film.mp4"]
    assert (tmp_path / "film.mp4").read_bytes() == whole


def test_a_contact_sheet_has_the_first_and_the_last_frame(tmp_path):
    write_film(in_parts((8,)), COUNT, 30.0, tmp_path / "film.mp4", lambda count: None)
    frames = shown(tmp_path / "film.mp4")
    assert frames.shape == (8, 16, 16, 3)
    ends = frames[[0, -1]].mean((1, 2, 3))
    np.testing.assert_allclose(ends, LEVELS[[0, COUNT - 1]], atol=2)
