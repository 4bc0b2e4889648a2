import jax.numpy as jnp
import pytest

from vldm_jax.core.conditioning import Conditioning, stack


def test_stack_puts_the_first_first():
    a = Conditioning(context=jnp.zeros((2, 3, 4)), labels=jnp.zeros((2, 1)))
    b = Conditioning(context=jnp.ones((2, 3, 4)), labels=jnp.ones((2, 1)))
    both = stack(a, b)
    assert both.context.shape == (4, 3, 4) and both.class_labels is None
    assert both.labels[:, 0].tolist() == [0, 0, 1, 1]


def test_stack_refuses_a_missing_partner():
    with pytest.raises(ValueError, match="different fields"):
        stack(Conditioning(labels=jnp.zeros((2, 1))), Conditioning())
