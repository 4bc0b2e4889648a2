"""Means over seeds and orderings of arms, against SciPy's t-tests."""

import numpy as np
import pytest
from scipy import stats

from vldm_jax.core.errors import InputError
from vldm_jax.evals.seeds import mean_of_seeds, ordering

FIRST, SECOND = [530.0, 561.0, 498.0], [710.0, 690.0, 745.0]


def test_the_interval_is_that_of_students_test():
    found = mean_of_seeds(FIRST)
    expected = stats.ttest_1samp(FIRST, 0.0).confidence_interval(0.95)
    np.testing.assert_allclose(found.interval, (expected.low, expected.high))
    np.testing.assert_allclose(found.value, np.mean(FIRST))


def test_arms_of_the_same_seeds_are_compared_in_pairs():
    found = ordering(FIRST, SECOND)
    expected = stats.ttest_rel(SECOND, FIRST).confidence_interval(0.95)
    np.testing.assert_allclose(found.difference.interval, (expected.low, expected.high))
    assert (found.pairs, found.seeds, found.verdict) == (3, 3, "holds")


def test_what_is_the_same_in_each_seed_cancels():
    """Seeds that are hard for both arms hide nothing: 5 apart in each, 1000 between seeds."""
    assert ordering([0.0, 1000.0, 2000.0], [5.0, 1005.1, 2004.9]).verdict == "holds"


@pytest.mark.parametrize(
    ("second", "verdict"),
    [
        ([531.0, 562.0, 900.0], "likely"),  # every pair, but not by more than chance
        ([540.0, 570.0, 490.0], "does not hold"),
        ([500.0, 500.0, 400.0], "does not hold"),
    ],
)
def test_a_verdict_is_as_strong_as_its_seeds(second, verdict):
    assert ordering(FIRST, second).verdict == verdict


def test_one_seed_alone_makes_nothing_hold():
    assert ordering(FIRST[:1], SECOND[:1]).verdict == "likely"
    assert mean_of_seeds([3.0]).interval is None  # and no width of 0 that looks sure


def test_seeds_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="2 and 3 seeds"):
        ordering(FIRST[:2], SECOND)
    for values in ([], [1.0, float("nan")]):
        with pytest.raises(InputError, match="a finite value a seed"):
            mean_of_seeds(values)
