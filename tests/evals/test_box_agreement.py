"""Boxes found where they were asked for: overlap, shares, chance, and the shipped detector."""

import numpy as np
import pytest

from vldm_jax.core.assets import resolve
from vldm_jax.core.errors import InputError
from vldm_jax.data.boxes import areas, boxes_source
from vldm_jax.evals.box_agreement import MOST, box_rows, boxes_found, boxes_of_others, overlaps
from vldm_jax.evals.clips import array_clips
from vldm_jax.evals.compare import compare
from vldm_jax.evals.extract import Extractor
from vldm_jax.evals.extractors import make_extractor
from vldm_jax.evals.sets import Compared

ONE, OTHER, THIRD = (0.1, 0.5, 0.3, 0.7), (0.6, 0.5, 0.7, 0.6), (0.0, 0.0, 0.25, 0.25)
NONE = (0.0,) * 4


def rows(detected, asked):
    """Rows of clips of one frame."""
    found = np.array(detected, np.float32).reshape(len(detected), 1, -1, 4)
    return box_rows(found, np.array(asked, np.float32))


def test_overlap_is_that_of_counted_cells():
    """Boxes whose corners lie on a grid, as sets of its cells."""
    random, side = np.random.default_rng(0), 16
    corners = np.sort(random.integers(0, side + 1, (2, 12, 2, 2)), axis=2)
    a, b = corners.reshape(2, 12, 4)  # x0 y0 x1 y1

    def cells(box):
        x0, y0, x1, y1 = box
        return {(x, y) for x in range(x0, x1) for y in range(y0, y1)}

    expected = [[len(cells(i) & cells(j)) / max(1, len(cells(i) | cells(j))) for j in b] for i in a]
    np.testing.assert_allclose(overlaps(a / side, b / side), expected, atol=1e-9)


def test_the_share_is_over_the_boxes_that_were_asked_for():
    near = (0.12, 0.5, 0.32, 0.7)  # 9/11 of ONE's union
    asked = [[ONE, OTHER], [THIRD, NONE], [NONE, NONE]]
    assert boxes_found(rows([[near, THIRD], [ONE, NONE], [ONE, ONE]], asked)) == 1 / 3
    assert boxes_found(rows([[OTHER, near], [THIRD, ONE], [ONE, ONE]], asked)) == 1
    assert boxes_found(rows([[NONE, NONE]] * 3, asked)) == 0


def test_nothing_that_is_not_asked_for_is_found():
    with pytest.raises(InputError, match="no clip was asked for a box"):
        boxes_found(rows([[ONE]], [[NONE]]))


def test_every_frame_is_to_show_the_boxes_of_its_clip():
    detected = np.zeros((1, 2, 1, 4), np.float32)
    detected[0, 0, 0] = ONE  # in one of two frames
    assert boxes_found(box_rows(detected, np.array([[ONE]], np.float32))) == 0.5


def test_boxes_of_others_are_found_by_chance_alone():
    detected = [[ONE], [OTHER], [THIRD]]
    assert boxes_found(rows(detected, detected)) == 1
    assert boxes_of_others(rows(detected, detected)) == 0
    assert boxes_of_others(rows([[ONE]] * 3, [[ONE]] * 3)) == 1
    mixed = [[ONE], [ONE], [THIRD]]
    assert boxes_of_others(rows(mixed, mixed)) == pytest.approx(1 / 3)


def test_rows_hold_as_many_detections_as_there_may_be():
    assert rows([[ONE]] * 2, [[ONE, NONE, NONE]] * 2).shape == (2, 1, 4 * (MOST + 3))


def boxed(boxes):
    """Clips of one frame beside which the boxes lie that they show: drawn as white."""
    videos = np.zeros((len(boxes), 1, 40, 40, 3), np.uint8)
    for video, of in zip(videos, boxes, strict=True):
        for x0, y0, x1, y1 in (np.array(of) * 40).astype(int):
            video[:, y0:y1, x0:x1] = 255
    told = np.array(boxes, np.float32)
    return array_clips(videos, 8).with_beside("boxes", lambda i: told[i])


def sees_white(weights=None):
    """A detector of the one white rectangle of a frame."""

    def compute(videos, asked):
        found = np.zeros((len(videos), 1, 1, 4), np.float32)
        for box, video in zip(found, videos, strict=True):
            y, x = np.nonzero(video[0, ..., 0])
            box[:] = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1]) / 40
        return box_rows(found, np.stack(asked))

    return Extractor(name="boxes", compute=compute, recipe={}, beside="boxes", batch=2)


def test_a_comparison_keeps_each_clip_with_its_boxes():
    samples, others = boxed([[ONE], [OTHER], [THIRD]]), boxed([[THIRD], [ONE], [OTHER]])
    names = ("agreement_boxes", "agreement_boxes_shuffled")
    sets = {"boxes": Compared(samples=samples, real=others, others=others)}
    result = compare(sets, names, extractors={"boxes": sees_white()}, cache=None, seed=0)
    values = {name: (one["value"], one["floor"]) for name, one in result.figures.items()}
    assert values == {"agreement_boxes": (1, 1), "agreement_boxes_shuffled": (0, 0)}


def test_the_shipped_detector_finds_real_cars_where_they_are():
    source = boxes_source(
        resolve("asset:driving/clips"), height=64, width=128, fps=1, num_frames=1, cuts=False
    )
    examples = [source[i] for i in range(0, 96, 6)]
    videos = np.stack([one["image"][None] for one in examples])
    found = make_extractor("boxes").compute(videos, [one["boxes"] for one in examples])
    assert boxes_found(found) > 0.6 and boxes_of_others(found) < 0.3
    # As many boxes as the figures of cars count.
    boxes = found[..., : 4 * MOST].reshape(len(videos), MOST, 4)
    cars = make_extractor("detector").compute(videos)[:, 0, 0]
    np.testing.assert_array_equal((areas(boxes) > 0).sum(-1), cars)
