"""Average precision of detections whose precision and recall are known."""

import numpy as np
import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.evals.precision import average_precision, overlaps, right_ones


def box(x, size=1.0):
    return [x, 0.0, x + size, size]


def rows(*boxes):
    return np.array(boxes, np.float32).reshape(-1, 4)


def test_the_overlap_of_boxes_is_the_share_of_their_union():
    found = overlaps(rows(box(0), box(0, 0.0)), rows(box(0), box(0.5), box(3)))
    np.testing.assert_allclose(found, [[1, 1 / 3, 0], [0, 0, 0]], atol=1e-6)


def test_a_true_box_is_taken_once_by_the_surest():
    right = right_ones(rows(box(0.1), box(0), box(5)), rows(box(0), box(9)))
    assert right.tolist() == [True, False, False]
    assert right_ones(rows(box(0)), rows()).tolist() == [False]


def test_the_area_under_the_curve_by_hand():
    """Right, wrong, right of three true boxes: precisions 1, 1/2, 2/3 at recalls 1/3, 1/3, 2/3."""
    boxes = [rows(box(0), box(7)), rows(box(0))]
    scores = [np.array([0.9, 0.5]), np.array([0.1])]
    true = [rows(box(0), box(20)), rows(box(0.2))]
    assert average_precision(boxes, scores, true) == pytest.approx(1 / 3 + 2 / 3 / 3)
    assert average_precision(boxes, scores, true, least=0.9) == pytest.approx(1 / 3)


def test_perfect_is_one_and_its_order_does_not_matter():
    true = [rows(box(0), box(4)), rows(), rows(box(2))]
    scores = [np.array([0.6, 0.3]), np.zeros(0), np.array([0.9])]
    assert average_precision(true, scores, true) == pytest.approx(1.0)
    doubled = [np.repeat(t, 2, axis=0) for t in true]  # each second one is wrong
    halves = [np.repeat(s, 2) for s in scores]
    assert average_precision(doubled, halves, true) < 0.8


def test_nothing_to_find_is_said():
    with pytest.raises(InputError, match="no frame has a true box"):
        average_precision([rows()], [np.zeros(0)], [rows()])
