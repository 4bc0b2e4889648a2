"""The frame rate told to temporal layers: nothing when fresh, one embedding a rate."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vldm_jax.conditions.frame_rate import FrameRate
from vldm_jax.conditions.table import condition_of, fields_of
from vldm_jax.core.errors import InputError

RATES = FrameRate(rates=(7.5, 30.0))


class Told(nn.Module):
    """A network of the condition alone."""

    @nn.compact
    def __call__(self, fps):
        return RATES.embed({"fps": fps}, width=4, token_width=None)


def told(params, *fps):
    return Told().apply({"params": params}, jnp.array(fps, jnp.float32))


def test_fresh_it_adds_nothing_and_only_temporal_layers_are_told():
    params = Told().init(jax.random.key(0), jnp.ones(1))["params"]
    assert list(params) == ["temporal_condition_fps"]
    added = told(params, 7.5, 30.0)
    assert added.emb is None and not added.emb_temporal.any()


def test_each_rate_has_its_embedding_and_a_rate_nearby_is_meant():
    table = jnp.arange(8.0).reshape(2, 4)
    rows = told({"temporal_condition_fps": {"embedding": table}}, 30.0, 7.5, 29.97).emb_temporal
    np.testing.assert_array_equal(rows, table[jnp.array([1, 0, 1])])


def test_a_file_names_it():
    assert condition_of({"kind": "frame_rate", "rates": [7.5, 30]}) == RATES
    assert condition_of(fields_of(RATES)) == RATES


@pytest.mark.parametrize("rates", [(), (30.0,), (7.5, 7.5), (0.0, 30.0)])
def test_rates_that_tell_nothing_apart_are_refused(rates):
    with pytest.raises(InputError, match="rates=.* at least two"):
        condition_of({"kind": "frame_rate", "rates": rates})
