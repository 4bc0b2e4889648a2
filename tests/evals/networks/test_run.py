"""Chunks change nothing but memory, and products are float32."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.evals.networks.run import compiled, in_chunks


@pytest.mark.parametrize("size", [1, 3, 4, 7, 100])
def test_chunks_are_the_whole(size):
    x, y = np.arange(14).reshape(7, 2), np.arange(7)
    seen = set()

    def function(x, y):
        seen.add(len(x))
        return x.sum(1) + y

    np.testing.assert_array_equal(in_chunks(function, x, y, size=size), x.sum(1) + y)
    assert seen == {min(size, 7)}  # one shape, so one compilation


def test_nothing_and_no_size_are_refused():
    with pytest.raises(InputError, match="0 rows"):
        in_chunks(np.asarray, np.zeros((0, 2)), size=4)
    with pytest.raises(InputError, match="chunks of 0"):
        in_chunks(np.asarray, np.zeros((3, 2)), size=0)


def test_products_are_asked_for_in_float32():
    module, x = nn.Dense(2), jnp.ones((1, 3))
    params = module.init(jax.random.key(0), x)["params"]
    text = compiled(module).lower(params, x).as_text()
    assert "precision = [HIGHEST, HIGHEST]" in text
