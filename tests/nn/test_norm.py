import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy_init import numpy_init

from vldm_jax.core.errors import InputError
from vldm_jax.nn.norm import GroupNorm, LayerNorm


def with_affine(net, x):
    params = numpy_init(net, x)
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape), jnp.float32), params)


@pytest.mark.parametrize("shape", [(2, 3, 5, 12), (2, 4, 3, 2, 12)])
def test_group_norm_equals_numpy_over_all_axes_but_batch_and_group(shape):
    x = np.random.default_rng(1).normal(3.0, 2.0, size=shape).astype(np.float32)
    net = GroupNorm(groups=4, eps=1e-3)
    params = with_affine(net, jnp.asarray(x))
    expected = np.empty(shape)
    for b in range(shape[0]):
        for group in range(4):
            cols = slice(3 * group, 3 * group + 3)
            part = x[b, ..., cols].astype(np.float64)
            expected[b, ..., cols] = (part - part.mean()) / np.sqrt(part.var() + 1e-3)
    expected = expected * np.asarray(params["scale"]) + np.asarray(params["bias"])
    np.testing.assert_allclose(net.apply({"params": params}, jnp.asarray(x)), expected, atol=2e-5)


def test_layer_norm_equals_numpy():
    x = np.random.default_rng(1).normal(3.0, 2.0, size=(2, 5, 6)).astype(np.float32)
    net = LayerNorm(eps=1e-3)
    params = with_affine(net, jnp.asarray(x))
    expected = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-3)
    expected = expected * np.asarray(params["scale"]) + np.asarray(params["bias"])
    np.testing.assert_allclose(net.apply({"params": params}, jnp.asarray(x)), expected, atol=2e-5)


@pytest.mark.parametrize("net", [GroupNorm(groups=1), LayerNorm()])
def test_statistics_are_float32_under_bfloat16(net):
    # Around 100, bfloat16 sums lose a spread of 1.
    x = jnp.asarray(100 + np.random.default_rng(0).normal(size=(2, 256, 64)), jnp.bfloat16)
    net = net.copy(dtype=jnp.bfloat16)
    y = net.apply({"params": numpy_init(net, x)}, x)
    assert y.dtype == jnp.bfloat16
    y = np.asarray(y, np.float32)
    assert abs(y.mean()) < 0.01 and abs(y.std() - 1) < 0.01


def test_groups_that_do_not_divide_are_named_with_the_width():
    with pytest.raises(InputError, match="norm groups 4 do not divide the width 6"):
        GroupNorm(groups=4).init(jax.random.key(0), jnp.zeros((1, 2, 6)))
