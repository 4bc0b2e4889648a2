"""Gradients of parameters in float32: right, not rounded, and summed so over devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from vldm_jax.nn import products

BF16 = jnp.bfloat16


def integers(seed, *shape):
    """Numbers that bfloat16 holds, and whose small sums of products it holds, too."""
    return jnp.asarray(np.random.default_rng(seed).integers(-1, 2, shape), jnp.float32)


def gradients(product, x, w):
    """Return d/dx and d/dw of a scalar that weighs the product by integers."""
    weights = integers(2, *jax.eval_shape(product, x, w).shape)
    return jax.grad(lambda x, w: (product(x, w).astype(jnp.float32) * weights).sum(), (0, 1))(x, w)


@pytest.mark.parametrize(
    ("spec", "x", "w"),
    [
        ("bi,io->bo", (4, 3), (3, 2)),
        ("abi,io->abo", (2, 3, 3), (3, 2)),
        ("bhwi,io->bhwo", (2, 2, 2, 3), (3, 4)),
        ("bnhe,nmhe->bhnm", (2, 3, 2, 2), (3, 4, 2, 2)),
    ],
)
def test_products_have_the_gradients_of_einsum(spec, x, w):
    x, w = integers(0, *x), integers(1, *w)
    product = functools.partial(products.einsum, spec, dtype=BF16)
    np.testing.assert_array_equal(product(x, w).astype(jnp.float32), jnp.einsum(spec, x, w))
    expected = gradients(functools.partial(jnp.einsum, spec), x, w)
    for ours, theirs in zip(gradients(product, x, w), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"),
    [
        ((5, 4), (3, 3), 1, ((1, 1), (1, 1))),
        ((5, 4), (3, 3), 2, ((1, 1), (1, 1))),
        ((6, 5), (3, 3), 2, ((0, 1), (0, 1))),
        ((7, 6), (4, 4), 2, ((1, 1), (1, 1))),
        ((4, 6), (3, 1), 1, ((1, 1), (0, 0))),
        ((6, 5), (2, 3), 3, ((0, 0), (0, 0))),
    ],
)
def test_convolutions_have_the_gradients_of_lax(size, kernel, stride, padding):
    x, w = integers(0, 2, *size, 2), integers(1, *kernel, 2, 3)
    fields = {"stride": stride, "padding": padding}

    def reference(x, w):
        strides, axes = (stride, stride), ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(x, w, strides, padding, dimension_numbers=axes)

    product = functools.partial(products.convolve, **fields, dtype=BF16)
    np.testing.assert_array_equal(product(x, w).astype(jnp.float32), reference(x, w))
    for ours, theirs in zip(gradients(product, x, w), gradients(reference, x, w), strict=True):
        np.testing.assert_array_equal(ours, theirs)


LAYERS = {
    "einsum": lambda x, w: products.einsum("bi,io->bo", x, w, dtype=BF16),
    "convolution": lambda x, w: products.convolve(
        x[:, None, None], w[None, None], stride=1, padding=((0, 0), (0, 0)), dtype=BF16
    ),
    "bias": lambda x, w: products.add_bias(x.astype(BF16), w[0]),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_a_gradient_is_no_sum_of_bfloat16(layer):
    """1,001 ones: bfloat16 has 1,000 and 1,004."""
    x, w = jnp.ones((1001, 1)), jnp.ones((1, 1))
    grad = jax.grad(lambda w: LAYERS[layer](x, w).astype(jnp.float32).sum())(w)
    assert grad.dtype == jnp.float32 and float(grad[0, 0]) == 1001
    assert LAYERS[layer](x, w).dtype == BF16


def test_in_float32_nothing_stands_between_the_product_and_its_derivatives():
    """So forward mode, which a rule for reverse mode would forbid, works."""
    x, w = integers(0, 2, 3), integers(1, 3, 2)
    product = functools.partial(products.einsum, "bi,io->bo", dtype=jnp.float32)
    _, tangent = jax.jvp(lambda w: product(x, w), (w,), (w,))
    np.testing.assert_array_equal(tangent, x @ w)
