import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy_init import numpy_init
from scipy.special import erf

from vldm_jax.nn.transformer import FeedForward, SpatialTransformer, TransformerBlock


def test_feed_forward_gates_with_the_exact_gelu():
    x = np.random.default_rng(0).normal(size=(1, 3, 4)).astype(np.float32)
    net = FeedForward()
    params = numpy_init(net, jnp.asarray(x))
    p = jax.tree.map(lambda a: np.asarray(a, np.float64), params)
    value, gate = np.split(
        x @ p["net_0"]["proj"]["kernel"] + p["net_0"]["proj"]["bias"], 2, axis=-1
    )
    hidden = value * gate * (1 + erf(gate / np.sqrt(2))) / 2
    expected = hidden @ p["net_2"]["kernel"] + p["net_2"]["bias"]
    np.testing.assert_allclose(net.apply({"params": params}, jnp.asarray(x)), expected, atol=1e-6)


@pytest.mark.parametrize("only_cross_attention", [False, True])
def test_a_context_shared_by_frames_equals_one_repeated_for_each(only_cross_attention):
    x = jax.random.normal(jax.random.key(0), (6, 5, 8))
    context = jax.random.normal(jax.random.key(1), (2, 3, 4))
    net = TransformerBlock(heads=2, only_cross_attention=only_cross_attention)
    params = {"params": numpy_init(net, x, context)}
    shared = net.apply(params, x, context)
    repeated = net.apply(params, x, jnp.repeat(context, 3, axis=0))
    np.testing.assert_allclose(shared, repeated, atol=2e-6)


def test_only_cross_attention_keeps_pixels_apart():
    x = jax.random.normal(jax.random.key(0), (1, 3, 8))
    context = jax.random.normal(jax.random.key(1), (1, 2, 4))
    for only, reach in ((True, [True, False, False]), (False, [True, True, True])):
        net = TransformerBlock(heads=2, only_cross_attention=only)
        params = {"params": numpy_init(net, x, context)}
        grad = jax.jit(jax.grad(lambda x, n=net, p=params: n.apply(p, x, context)[0, 0].sum()))(x)
        assert (np.abs(grad[0]).sum(-1) > 0).tolist() == reach


@pytest.mark.parametrize("linear", [False, True])
def test_both_projections_are_one_function_of_the_same_numbers(linear):
    x = jax.random.normal(jax.random.key(0), (1, 2, 3, 8))
    net = SpatialTransformer(heads=2, cross_attention=False, linear_projection=True, groups=4)
    params = numpy_init(net, x, None)
    params["proj_out"]["kernel"] = jax.random.normal(jax.random.key(3), (8, 8))
    expected = net.apply({"params": params}, x, None)
    if not linear:
        net = net.copy(linear_projection=False)
        for name in ("proj_in", "proj_out"):
            params[name]["kernel"] = params[name]["kernel"][None, None]
    np.testing.assert_array_equal(net.apply({"params": params}, x, None), expected)


def test_the_temporal_place_is_inside_the_residual():
    x = jax.random.normal(jax.random.key(0), (1, 2, 3, 8))
    net = SpatialTransformer(heads=2, cross_attention=False, groups=4)
    params = numpy_init(net, x, None)
    params["proj_out"]["kernel"] = jnp.eye(8)
    out = net.apply({"params": params}, x, None, lambda tokens: jnp.zeros_like(tokens))
    np.testing.assert_array_equal(out, x)
