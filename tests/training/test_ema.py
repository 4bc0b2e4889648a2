"""The average against its closed form."""

import jax.numpy as jnp
import numpy as np
import pytest

from vldm_jax.training import ema


def run(values, decay, warmup):
    average = {"p": jnp.float32(values[0])}
    for n, value in enumerate(values[1:]):
        rate = ema.decay_at(decay, jnp.int32(n), warmup=warmup)
        average = ema.update(average, {"p": jnp.float32(value)}, rate)
    return float(average["p"])


def test_a_constant_input_is_approached_geometrically():
    # From 0 towards 1: 1 - decay^n.
    assert run([0.0] + [1.0] * 7, 0.9, False) == pytest.approx(1 - 0.9**7, rel=1e-5)


def test_without_warmup_it_is_the_weighted_sum():
    values = np.random.default_rng(0).normal(size=12)
    weights = 0.1 * 0.9 ** np.arange(10, -1, -1)
    expected = 0.9**11 * values[0] + np.sum(weights * values[1:])
    assert run(values, 0.9, False) == pytest.approx(expected, rel=1e-4)


def test_warmup_forgets_the_start():
    # Product of (1 + n) / (10 + n) over 8 updates: 9! 8! / 17!.
    rest = np.prod([(1 + n) / (10 + n) for n in range(8)])
    assert run([1.0] + [0.0] * 8, 0.9999, True) == pytest.approx(rest, rel=1e-4)
    assert rest < 1e-4


def test_warmup_ends_at_the_decay():
    assert float(ema.decay_at(0.99, jnp.int32(10_000))) == pytest.approx(0.99)
    assert float(ema.decay_at(0.99, jnp.int32(0))) == pytest.approx(0.1)
