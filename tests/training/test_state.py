"""The split into trained and frozen, and who owns the arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.training.state import create_state, split_params

PARAMS = {
    "network": {"conv": {"kernel": np.ones((2, 2))}, "temporal": {"kernel": np.ones(3)}},
    "autoencoder": {"scale": np.float32(1.0)},
}


def test_frozen_is_one_group_and_trained_all_the_others():
    rules = (("^autoencoder", "frozen"), ("temporal", "temporal"), ("conv", "spatial"))
    trainable, frozen = split_params(PARAMS, rules)
    assert set(trainable["network"]) == {"conv", "temporal"}
    assert set(frozen) == {"autoencoder"}


def test_without_frozen_rules_everything_is_trained():
    trainable, frozen = split_params(PARAMS, (("", "all"),))
    assert jax.tree.structure(trainable) == jax.tree.structure(PARAMS)
    assert frozen == {}


def test_an_uncovered_parameter_is_an_error():
    with pytest.raises(InputError, match="'network/conv/kernel' is covered by no rule"):
        split_params(PARAMS, (("^autoencoder", "frozen"), ("temporal", "temporal")))


def test_nothing_to_train_is_an_error():
    with pytest.raises(InputError, match="leave no parameter to train"):
        split_params(PARAMS, (("", "frozen"),))


def test_the_state_owns_float32_copies():
    given = {"a": jnp.ones(4, jnp.bfloat16), "b": jnp.ones(4)}
    state = create_state(given, optax.adam(1e-3))
    assert {leaf.dtype for leaf in jax.tree.leaves((state.params, state.ema))} == {
        jnp.dtype(jnp.float32)
    }
    # Giving the state's buffers away leaves the caller's arrays and must not free one buffer twice.
    double = jax.jit(lambda s: jax.tree.map(lambda x: x + x, s), donate_argnums=0)
    after = double(state)
    assert state.params["b"].is_deleted()
    np.testing.assert_array_equal(given["b"], np.ones(4))
    np.testing.assert_array_equal(after.params["b"], after.ema["b"])


def test_a_state_may_have_no_average():
    assert create_state({"a": jnp.ones(2)}, optax.adam(1e-3), ema=False).ema is None
