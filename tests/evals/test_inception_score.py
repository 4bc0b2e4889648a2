"""Classifiers whose inception score is known in closed form."""

import numpy as np
import pytest
from scipy.special import softmax

from vldm_jax.core.errors import InputError
from vldm_jax.evals.inception_score import inception_score

RNG = np.random.default_rng(0)


def sure_of(classes, k, margin=50.0):
    return margin * np.eye(k)[classes]


@pytest.mark.parametrize("splits", [1, 4])
def test_a_classifier_that_never_knows_scores_one(splits):
    score = inception_score(np.full((40, 7), -3.0), splits)
    assert score.mean == pytest.approx(1.0, abs=1e-12)
    assert score.deviation == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("k", [2, 5, 101])
@pytest.mark.parametrize("margin", [50.0, 5000.0])  # the second: classes of probability zero
def test_sure_and_balanced_over_k_classes_scores_k(k, margin):
    score = inception_score(sure_of(np.tile(np.arange(k), 6), k, margin), splits=3)
    assert score.mean == pytest.approx(k, rel=1e-9)
    assert score.deviation == pytest.approx(0.0, abs=1e-9)


def test_sure_of_one_class_of_many_scores_one():
    assert inception_score(sure_of(np.zeros(20, int), 9, 5000.0)).mean == pytest.approx(1.0)


def test_sure_but_unbalanced_scores_the_perplexity_of_the_classes():
    classes = np.repeat(np.arange(3), [8, 4, 4])
    expected = 2 ** (0.5 * 1 + 2 * 0.25 * 2)  # entropy in bits
    assert inception_score(sure_of(classes, 3), splits=1).mean == pytest.approx(expected)


def test_mean_and_deviation_are_over_consecutive_splits():
    """The first half has one class, the second two: scores 1 and 2."""
    score = inception_score(sure_of([0] * 6 + [0, 1] * 3, 4), splits=2)
    assert (score.mean, score.deviation) == (pytest.approx(1.5), pytest.approx(0.5))


def test_mutual_information_by_its_definition():
    """Of float32 logits, and with splits that are not equal in size."""
    logits = RNG.normal(size=(11, 6)).astype(np.float32) * 2
    scores = []
    for part in (logits[:3], logits[3:7], logits[7:]):
        p = softmax(part.astype(np.float64), axis=1)
        joint, independent = p / len(p), np.full((len(p), 1), 1 / len(p)) * p.mean(0)
        scores.append(np.exp((joint * np.log(joint / independent)).sum()))
    score = inception_score(logits, splits=3)
    assert score.mean == pytest.approx(np.mean(scores), rel=1e-12)
    assert score.deviation == pytest.approx(np.std(scores), rel=1e-9)


def test_adding_to_all_logits_of_a_sample_changes_nothing():
    logits = RNG.normal(size=(20, 6))
    moved = logits + RNG.normal(size=(20, 1)) * 100
    assert inception_score(moved).mean == pytest.approx(inception_score(logits).mean)


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(InputError, match="3 samples in 10 splits"):
        inception_score(np.zeros((3, 5)))
    with pytest.raises(InputError, match="3 samples in 0 splits"):
        inception_score(np.zeros((3, 5)), splits=0)
    logits = np.zeros((12, 5))
    logits[7, 2] = np.nan
    with pytest.raises(InputError, match="sample 7 are not finite"):
        inception_score(logits)
