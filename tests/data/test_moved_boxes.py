"""Boxes go where their objects go: white rectangles on black frames, cut, resized and encoded."""

import numpy as np
import pytest

from vldm_jax.config.base import base_config
from vldm_jax.config.data import build_source
from vldm_jax.core.errors import InputError
from vldm_jax.data.boxes import boxes_source, move_boxes, padded, read_boxes
from vldm_jax.data.drawing import draw_boxes
from vldm_jax.data.transforms import resize_crop
from vldm_jax.data.write import write_video

SIZE, FRAMES = (96, 128), 4


def rectangle(size, box):
    """A white rectangle with these corners, in pixels, on black."""
    frame = np.zeros((*size, 3), np.uint8)
    x0, y0, x1, y1 = box
    frame[y0:y1, x0:x1] = 255
    return frame


def white(frame):
    """The corners of what is white, normalised, from the share of white in rows and columns."""
    grey = frame.mean(-1) / 255
    columns, rows = grey.max(0), grey.max(1)
    ends = []
    for profile in (columns, rows):
        inside = np.flatnonzero(profile > 0.5)
        first, last = inside[0], inside[-1] + 1
        ends.append((first / len(profile), last / len(profile)))
    (x0, x1), (y0, y1) = ends
    return np.array([x0, y0, x1, y1])


def corners(size, box):
    height, width = size
    return np.array([box], np.float32) / np.array([[width, height, width, height]], np.float32)


@pytest.mark.parametrize("to", [(48, 64), (32, 64), (64, 48), (96, 128), (30, 70), (96, 32)])
@pytest.mark.parametrize("box", [(40, 30, 80, 70), (46, 20, 90, 60), (60, 60, 70, 66)])
def test_a_box_stays_around_its_rectangle(to, box):
    moved = move_boxes(corners(SIZE, box), SIZE, to)
    seen = white(resize_crop(rectangle(SIZE, box), *to))
    pixel = np.array([1 / to[1], 1 / to[0]] * 2)
    assert moved.shape == (1, 4)
    assert (np.abs(moved[0] - seen) < pixel).all()


def test_a_cut_clips_boxes_and_drops_what_it_leaves_too_little_of():
    boxes = np.concatenate([
        corners(SIZE, (0, 0, 128, 96)),  # the whole frame stays the whole frame
        corners(SIZE, (20, 40, 60, 60)),  # a sixth of it is cut off: it stays, clipped
        corners(SIZE, (0, 40, 36, 60)),  # a ninth is left of it
        corners(SIZE, (0, 40, 30, 60)),  # nothing is left of it
    ])  # fmt: skip
    moved = move_boxes(boxes, SIZE, (96, 64))  # the middle 64 of 128 columns
    np.testing.assert_allclose(moved, [[0, 0, 1, 1], [0, 40 / 96, 28 / 64, 60 / 96]], atol=1e-6)


def test_the_largest_boxes_are_kept_in_their_order():
    boxes = np.array([[0, 0, s, s] for s in (0.1, 0.5, 0.2, 0.4)], np.float32)
    rows, known = padded(boxes, 3)
    np.testing.assert_array_equal(rows, boxes[1:])
    assert known.all()
    rows, known = padded(boxes, 6)
    assert known.tolist() == [True] * 4 + [False] * 2 and not rows[4:].any()


@pytest.fixture
def folder(tmp_path):
    """Two videos of a rectangle that goes right; the second has none in its first frame."""
    rows = {"clip": [], "frame": [], "car": [], "box": []}
    for clip in (3, 11):
        frames = []
        for t in range(FRAMES):
            box = (30 + 8 * t, 40, 50 + 8 * t, 64)
            shown = (clip, t) != (11, 0)
            frames.append(rectangle(SIZE, box) if shown else np.zeros((*SIZE, 3), np.uint8))
            if shown:
                values = (clip, t, 0, corners(SIZE, box)[0])
                for name, value in zip(rows, values, strict=True):
                    rows[name].append(value)
        write_video(tmp_path / f"{clip:06d}.mp4", np.stack(frames), 8, crf=1)
    save(tmp_path, **rows)
    return tmp_path


def save(folder, **columns):
    types = {"clip": np.uint32, "frame": np.uint16, "car": np.uint16, "box": np.float16}
    np.savez(
        folder / "boxes.npz", **{k: np.array(v, types[k]) for k, v in columns.items()}
    )  # fmt: skip


@pytest.mark.parametrize("cache", [None, "memory"])
@pytest.mark.parametrize("num_frames", [1, 3])
def test_examples_bring_the_boxes_of_their_frames(folder, num_frames, cache):
    """At half the rate, cut to another aspect: the boxes are those of what is shown."""
    source = boxes_source(
        folder, height=32, width=32, fps=4 if num_frames == 1 else 8, num_frames=num_frames,
        max_boxes=2, cache=cache,
    )  # fmt: skip
    empty = 0
    for i in range(len(source)):
        example = source[i]
        content = example["image"][None] if num_frames == 1 else example["video"]
        boxes, is_box = (example[k].reshape(len(content), 2, -1) for k in ("boxes", "is_box"))
        for frame, of, known in zip(content, boxes, is_box[..., 0], strict=True):
            if known.any():
                assert known.tolist() == [True, False]
                assert (np.abs(of[0] - white(frame)) <= 1.2 / 32).all()
            else:
                assert frame.max() < 40
                empty += 1
    assert empty == 1


def test_a_config_names_them(folder):
    data = base_config().data
    data.update(kind="boxes", path=str(folder), height=48, width=64, fps=8.0, num_frames=2)
    source = build_source(data)
    assert source[0]["boxes"].shape == (2, 24, 4) and "2 videos" in source.report


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"box": [[0, 0, 2, 1]]}, "what is no box in"),
        ({"box": [[0, 0, np.nan, 1]]}, "what is no box in"),
        ({"box": [[0, 0, 1]]}, "what is no box in"),
        ({"frame": [0, 1]}, "columns of different lengths"),
    ],
)
def test_damaged_boxes_are_one_line(folder, columns, message):
    save(folder, **{"clip": [3], "frame": [0], "car": [0], "box": [[0, 0, 1, 1]]} | columns)
    with pytest.raises(InputError, match=message):
        boxes_source(folder, height=48, width=64, fps=8, num_frames=1)


def test_other_videos_have_no_boxes(folder, tmp_path):
    (folder / "000003.mp4").rename(folder / "mine.mp4")
    with pytest.raises(InputError, match="says nothing of mine.mp4"):
        boxes_source(folder, height=48, width=64, fps=8, num_frames=1)
    with pytest.raises(InputError, match="boxes.npz does not exist"):
        read_boxes(tmp_path / "none")
    with pytest.raises(InputError, match="max_boxes=0 must be"):
        boxes_source(folder, height=48, width=64, fps=8, num_frames=1, max_boxes=0)


def test_an_outline_lies_on_the_edge_of_its_rectangle():
    box = (10, 6, 20, 12)
    drawn = draw_boxes(rectangle((24, 32), box), corners((24, 32), box), scale=2)
    yellow = (drawn == np.array([[[255, 220, 0]]])).all(-1)
    rows, columns = np.nonzero(yellow)
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (20, 12, 40, 24)
    assert yellow.sum() == 2 * 20 + 2 * 12 - 4
