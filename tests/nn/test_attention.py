import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy_init import numpy_init

from vldm_jax.core.errors import InputError
from vldm_jax.nn.attention import Attention, ImageAttention, attend


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def dense(params, name, x):
    return x @ params[name]["kernel"] + params[name].get("bias", 0.0)


def reference(params, x, context, heads):
    """One sample and one head at a time, in float64."""
    params = jax.tree.map(lambda a: np.asarray(a, np.float64), params)
    q, k, v = (
        dense(params, "to_q", x),
        dense(params, "to_k", context),
        dense(params, "to_v", context),
    )
    e = q.shape[-1] // heads
    out = np.zeros_like(q)
    for b in range(len(x)):
        for head in range(heads):
            cols = slice(head * e, (head + 1) * e)
            logits = q[b, :, cols] @ k[b, :, cols].T / np.sqrt(e)
            out[b, :, cols] = softmax(logits) @ v[b, :, cols]
    return dense(params, "to_out_0", out)


@pytest.mark.parametrize("context_width", [None, 5])
def test_equals_a_loop_over_heads(context_width):
    x = np.random.default_rng(0).normal(size=(2, 6, 12)).astype(np.float32)
    context = None
    if context_width is not None:
        context = np.random.default_rng(1).normal(size=(2, 4, context_width)).astype(np.float32)
    net = Attention(heads=3)
    args = [jnp.asarray(a) for a in (x, context) if a is not None]
    params = numpy_init(net, *args)
    expected = reference(params, x, x if context is None else context, heads=3)
    np.testing.assert_allclose(net.apply({"params": params}, *args), expected, atol=2e-6)


def test_relative_keys_are_added_to_the_keys_that_a_query_sees():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 4, 6)).astype(np.float32)
    relative = rng.normal(size=(4, 4, 6)).astype(np.float32)
    net = Attention(heads=2)
    params = numpy_init(net, jnp.asarray(x))
    out = net.apply({"params": params}, jnp.asarray(x), relative_keys=jnp.asarray(relative))
    p = jax.tree.map(np.asarray, params)
    q, k, v = (dense(p, name, x)[0] for name in ("to_q", "to_k", "to_v"))
    expected = np.zeros((4, 6))
    for i in range(4):
        for cols in (slice(0, 3), slice(3, 6)):
            keys = k[:, cols] + relative[i][:, cols]
            expected[i, cols] = softmax(keys @ q[i, cols] / np.sqrt(3)) @ v[:, cols]
    np.testing.assert_allclose(out[0], dense(p, "to_out_0", expected), atol=2e-6)


def test_a_masked_pair_has_no_influence():
    q = k = v = jax.random.normal(jax.random.key(0), (1, 3, 1, 4))
    mask = jnp.array([[True, False, True], [True, True, True], [True, True, True]])
    jacobian = jax.jacobian(lambda v: attend(q, k, v, mask=mask)[0, :, 0, 0])(v)
    seen = np.abs(jacobian[:, 0, :, 0]).sum(-1) > 0
    np.testing.assert_array_equal(seen, mask)


def test_softmax_is_float32_under_bfloat16():
    # Logits of 200 and 201 are one bfloat16 number; in float32 their weights differ by e.
    q = jnp.full((1, 1, 1, 1), 1.0, jnp.bfloat16)
    k = jnp.array([128.0, 129.0], jnp.bfloat16).reshape(1, 2, 1, 1)
    v = jnp.array([0.0, 1.0], jnp.bfloat16).reshape(1, 2, 1, 1)
    bias = jnp.array([0.0, 0.25], jnp.float32).reshape(1, 1, 1, 2)
    weight = float(attend(q, k, v, bias)[0, 0, 0, 0])
    assert weight == pytest.approx(1 / (1 + np.exp(-1.25)), rel=5e-3)


def test_heads_that_do_not_divide_are_named_with_the_width():
    with pytest.raises(InputError, match=r"3 attention heads .* width 8"):
        Attention(heads=3).init(jax.random.key(0), jnp.zeros((1, 2, 8)))


def test_image_attention_is_residual_and_sees_every_pixel():
    x = jax.random.normal(jax.random.key(0), (1, 2, 3, 4))
    net = ImageAttention(groups=2)
    params = numpy_init(net, x)
    assert set(params) == {"group_norm", "to_q", "to_k", "to_v", "to_out_0"}
    silent = {**params, "to_out_0": jax.tree.map(jnp.zeros_like, params["to_out_0"])}
    np.testing.assert_array_equal(net.apply({"params": silent}, x), x)
    grad = jax.grad(lambda x: net.apply({"params": params}, x)[0, 0, 0, 0])(x)
    assert bool((jnp.abs(grad).sum(-1) > 0).all())


def test_what_is_not_there_has_no_influence_in_its_sample_alone():
    rng = np.random.default_rng(0)
    x, context = (jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((2, 3, 6), (2, 4, 6)))
    net = Attention(heads=2)
    params = numpy_init(net, x, context)
    there = jnp.array([[True, False, True, False], [True, True, True, True]])
    out = net.apply({"params": params}, x, context, there=there)
    fewer = net.apply({"params": params}, x[:1], context[:1, ::2])
    np.testing.assert_allclose(out[:1], fewer, atol=2e-6)
    np.testing.assert_allclose(
        out[1:], net.apply({"params": params}, x[1:], context[1:]), atol=1e-6
    )
    np.testing.assert_allclose(out[0], reference(params, x[:1], context[:1, ::2], 2)[0], atol=2e-6)


def test_both_masks_hold_together():
    q = k = v = jax.random.normal(jax.random.key(0), (1, 3, 1, 4))
    mask = jnp.array([[True, False, True], [True, True, True], [True, True, True]])
    there = jnp.array([[True, True, False]])
    jacobian = jax.jacobian(lambda v: attend(q, k, v, mask=mask, there=there)[0, :, 0, 0])(v)
    seen = np.abs(jacobian[:, 0, :, 0]).sum(-1) > 0
    np.testing.assert_array_equal(seen, mask & there)
