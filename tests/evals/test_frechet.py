"""Distances of sets of features: closed forms of Gaussians, and SciPy's root of a matrix."""

import numpy as np
import pytest
import scipy.linalg

from vldm_jax.core.errors import InputError
from vldm_jax.evals.frechet import frechet_distance
from vldm_jax.evals.interval import bootstrap_interval
from vldm_jax.evals.kernel import kernel_distance


def draw(count, width=6, shift=0.0, scale=1.0, seed=0):
    random = np.random.default_rng(seed)
    mix = np.random.default_rng(99).normal(size=(width, width))
    return (random.normal(size=(count, width)) @ mix * scale + shift).astype(np.float32)


def with_a_root(x, y):
    """The formula as it is written, in float64, with SciPy."""
    x, y = np.float64(x), np.float64(y)
    (m1, s1), (m2, s2) = ((f.mean(0), np.cov(f, rowvar=False)) for f in (x, y))
    root = scipy.linalg.sqrtm(s1 @ s2).real
    return np.sum((m1 - m2) ** 2) + np.trace(s1 + s2 - 2 * root)


def test_equals_the_formula_with_a_root_of_a_matrix():
    for n, m in ((500, 300), (40, 700)):
        x, y = draw(n), draw(m, shift=0.5, scale=1.5, seed=1)
        assert frechet_distance(x, y) == pytest.approx(with_a_root(x, y), rel=1e-9)


def test_of_gaussians_it_is_the_closed_form():
    """Per axis (m1 - m2)^2 + (s1 - s2)^2."""
    random = np.random.default_rng(0)
    x = random.normal([0.0, 1.0], [1.0, 2.0], size=(400_000, 2))
    y = random.normal([3.0, 1.0], [1.5, 0.5], size=(400_000, 2))
    assert frechet_distance(x, y) == pytest.approx(9 + 0.25 + 2.25, rel=0.01)


def test_it_is_symmetric_zero_for_equal_sets_and_blind_to_order():
    x, y = draw(50), draw(80, shift=1.0, seed=1)
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(y, x))
    assert frechet_distance(x, x[::-1]) < 1e-9


@pytest.mark.parametrize("count", [5, 20])
def test_fewer_clips_than_features(count):
    """Shifting every row moves the means alone, and adding an orthogonal part adds its variance."""
    x = np.zeros((count, 64))
    x[:, :3] = draw(count, width=3)
    shifted = x + 0.25
    assert frechet_distance(x, shifted) == pytest.approx(64 / 16)
    other = np.zeros((count, 64))
    other[:, 3:6] = x[:, :3]
    variance = x.var(axis=0, ddof=1).sum()
    apart = np.square(x.mean(0) - other.mean(0)).sum()
    assert frechet_distance(x, other) == pytest.approx(apart + 2 * variance)


def test_more_clips_bring_it_down():
    """The bias of a small set, which is why a figure comes with its floor."""
    few, many = (frechet_distance(draw(n, width=32), draw(n, width=32, seed=1)) for n in (64, 1024))
    assert few > 5 * many > 0


def test_the_kernel_distance_is_its_definition_and_has_no_bias():
    x, y = draw(7), draw(5, shift=0.5, seed=1)
    k = lambda a, b: (float(np.dot(np.float64(a), b)) / 6 + 1) ** 3  # noqa: E731
    pairs = [[k(a, b) for b in y] for a in x]
    own = [
        np.mean([k(a, b) for i, a in enumerate(f) for j, b in enumerate(f) if i != j])
        for f in (x, y)
    ]
    assert kernel_distance(x, y) == pytest.approx(sum(own) - 2 * np.mean(pairs))
    same = [kernel_distance(draw(20, seed=2 * i), draw(30, seed=2 * i + 1)) for i in range(400)]
    assert min(same) < 0 < max(same)
    assert abs(np.mean(same)) < 3 * np.std(same) / 20


def test_the_kernel_distance_in_parts_is_the_whole(monkeypatch):
    x, y = draw(33), draw(20, seed=1)
    whole = kernel_distance(x, y)
    monkeypatch.setattr("vldm_jax.evals.kernel.ROWS", 8)
    assert kernel_distance(x, y) == pytest.approx(whole)


def test_intervals_hold_the_figure_of_other_draws():
    """Of 100 pairs of sets, about 95 of whose intervals hold the mean figure of such pairs."""
    pairs = [(draw(120, width=3, seed=2 * i), draw(120, width=3, shift=1, seed=2 * i + 1))
             for i in range(100)]  # fmt: skip
    values = [frechet_distance(*pair) for pair in pairs]
    held = 0
    for pair, value in zip(pairs, values, strict=True):
        low, high, _ = bootstrap_interval(frechet_distance, pair, value, draws=100)
        assert low < value < high
        held += low <= np.mean(values) <= high
    assert 86 <= held <= 100


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_too_few_or_not_finite_is_refused(distance):
    x = draw(10)
    with pytest.raises(InputError, match="1 clips or images are too few"):
        distance(x, x[:1])
    x[3, 2] = np.nan
    with pytest.raises(InputError, match=r"features of clip 3 are not finite numbers \(1 such\)"):
        distance(x, draw(10))
