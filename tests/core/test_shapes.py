import jax.numpy as jnp
import pytest

from vldm_jax.core.shapes import expand_like


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((), (1, 1, 1)), ((2,), (2, 1, 1)), ((2, 3), (2, 3, 1)), ((1, 3), (1, 3, 1))],
)
def test_axes_are_appended(shape, expected):
    x = jnp.zeros((2, 3, 4))
    expanded = expand_like(jnp.ones(shape), x)
    assert expanded.shape == expected
    assert (expanded * x).shape == x.shape


@pytest.mark.parametrize("shape", [(3,), (4,), (2, 4), (2, 3, 4, 1)])
def test_what_does_not_lead_is_refused(shape):
    # (3,) and (4,) would broadcast against an inner or the last axis if they were let through.
    with pytest.raises(ValueError, match="does not lead|longer|shorter"):
        expand_like(jnp.ones(shape), jnp.zeros((2, 3, 4)))
