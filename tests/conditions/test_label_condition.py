"""Labels as tokens, and how they are dropped."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy_init import numpy_init

from vldm_jax.conditions.labels import MAX_COUNT, LabelTokens
from vldm_jax.core.errors import InputError


@pytest.fixture(scope="module")
def labels():
    net = LabelTokens(("binary", "count"), 8)
    params = numpy_init(net, jnp.zeros((1, 2)))
    return lambda rows: np.asarray(net.apply({"params": params}, jnp.asarray(rows, jnp.float32)))


def test_a_dropped_label_is_a_token_of_its_own_and_touches_no_other(labels):
    nan = float("nan")
    known, no_first, no_second, none = labels([[1, 3], [nan, 3], [1, nan], [nan, nan]])
    assert np.isfinite([known, no_first, no_second, none]).all()
    np.testing.assert_array_equal(known[1], no_first[1])
    np.testing.assert_array_equal(known[0], no_second[0])
    np.testing.assert_array_equal(none, np.stack([no_first[0], no_second[1]]))
    assert np.abs(known - none).max(-1).min() > 1e-3


def test_counts_are_told_apart_up_to_the_largest(labels):
    tokens = labels([[0, 1], [0, 2], [0, MAX_COUNT], [0, MAX_COUNT + 5]])[:, 1]
    assert np.abs(tokens[0] - tokens[1]).max() > 1e-3
    np.testing.assert_array_equal(tokens[2], tokens[3])


def test_gradients_stay_finite_beside_a_dropped_label():
    net = LabelTokens(("count",), 8)
    x = jnp.array([[jnp.nan], [2.0]])
    params = numpy_init(net, x)
    grads = jax.grad(lambda p: jnp.square(net.apply({"params": p}, x)).sum())(params)
    assert all(bool(jnp.isfinite(g).all()) for g in jax.tree.leaves(grads))


def test_wrong_labels_are_refused():
    with pytest.raises(InputError, match="expected 1 per sample"):
        LabelTokens(("count",), 8).init(jax.random.key(0), jnp.zeros((1, 2)))
    with pytest.raises(InputError, match="unknown kind 'cars'"):
        LabelTokens(("cars",), 8).init(jax.random.key(0), jnp.zeros((1, 1)))
