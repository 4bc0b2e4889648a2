"""Intervals of figures that cannot be anything."""

import numpy as np
import pytest

from vldm_jax.evals.figures import FIGURES
from vldm_jax.evals.interval import bootstrap_interval
from vldm_jax.evals.value import evaluate


def share(rows):
    return float(rows.mean())


@pytest.mark.parametrize("ones", [0, 1, 5, 9, 10])
def test_an_interval_holds_its_figure_and_stays_where_the_figure_can_be(ones):
    rows = (np.arange(10) < ones).astype(float)
    low, high = bootstrap_interval(share, (rows,), share(rows), within=(0.0, 1.0))
    assert 0.0 <= low <= share(rows) <= high <= 1.0


def test_a_figure_whose_draws_all_lie_lower_is_still_inside():
    """A largest value: no draw can exceed it, and most fall short."""
    rows = np.arange(10.0)
    low, high = bootstrap_interval(lambda rows: float(rows.max() ** 3), (rows,), 729.0)
    assert low < 729.0 <= high


def test_the_order_of_cars_that_is_perfect_has_no_interval_beyond_one():
    cars = np.array([0.0, 2.0, 5.0, 7.0])
    rows = np.stack([cars, 0 * cars, cars], axis=-1)[:, None]
    figure = FIGURES["agreement_cars_order"]
    found = evaluate(figure, rows, None, None, settings={})
    assert found.value == 1.0 and -1.0 <= found.interval[0] <= found.interval[1] == 1.0
