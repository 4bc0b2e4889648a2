"""Products with parameters in the compute type, whose gradient by the parameter is in its own.

    y = x * w        in the compute type
    dx = dy * w      in the compute type
    dw = x * dy      in the type of the parameter, float32

Left to automatic differentiation, dw of a weight that was cast to bfloat16 leaves its product in
bfloat16, and the sum over devices, which stands there, is one of bfloat16. Matrix units add in
float32 anyway: asking for that result costs no arithmetic, but twice the bytes of the sum.
"""

import functools
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from vldm_jax.typing import Array, DTypeLike, Float

Parameter: TypeAlias = Array | np.ndarray  # on the host where a network is called uncompiled
Padding: TypeAlias = tuple[tuple[int, int], tuple[int, int]]


def einsum(
    spec: str,
    x: Float[Array, "..."],
    w: Float[Parameter, "..."],
    *,
    dtype: DTypeLike,
    out: DTypeLike | None = None,
) -> Float[Array, "..."]:
    """Return the product of activations and a parameter.

    Args:
        spec: "x,w->y" in single letters, each of them in two of the three.
        x: activations.
        w: parameter.
        dtype: compute type.
        out: type of the result; None for the compute type.
    """
    out = dtype if out is None else out
    x = x.astype(dtype)
    if w.dtype == dtype:
        return jnp.einsum(spec, x, w, preferred_element_type=out)
    return _einsum(spec, out, x, w)


def convolve(
    x: Float[Array, "b h w i"],
    kernel: Float[Parameter, "kh kw i o"],
    *,
    stride: int,
    padding: Padding,
    dtype: DTypeLike,
) -> Float[Array, "b h2 w2 o"]:
    """Return the convolution of images by a parameter, in `dtype`.

    Args:
        x: images.
        kernel: parameter.
        stride: step in both directions.
        padding: pixels of zeros ((top, bottom), (left, right)).
        dtype: compute type.
    """
    x = x.astype(dtype)
    if kernel.dtype == dtype:
        return _plain_convolve(stride, padding, x, kernel)
    return _convolve(stride, padding, x, kernel)


def add_bias(y: Float[Array, "*batch c"], bias: Float[Parameter, " c"]) -> Float[Array, "*batch c"]:
    """Return y + bias in the type of y; the bias's gradient is summed in its own type."""
    return y + jnp.broadcast_to(bias, y.shape).astype(y.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _einsum(spec, out, x, w):
    return jnp.einsum(spec, x, w.astype(x.dtype), preferred_element_type=out)


def _einsum_forward(spec, out, x, w):
    return _einsum(spec, out, x, w), (x, w)


def _einsum_backward(spec, out, saved, dy):
    x, w = saved
    (of_x, of_w), of_y = spec.split("->")[0].split(","), spec.split("->")[1]
    dx = jnp.einsum(f"{of_y},{of_w}->{of_x}", dy, w.astype(x.dtype)).astype(x.dtype)
    dw = jnp.einsum(f"{of_x},{of_y}->{of_w}", x, dy, preferred_element_type=w.dtype)
    return dx, dw


_einsum.defvjp(_einsum_forward, _einsum_backward)


def _plain_convolve(stride, padding, x, kernel):
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _convolve(stride, padding, x, kernel):
    return _plain_convolve(stride, padding, x, kernel.astype(x.dtype))


def _convolve_forward(stride, padding, x, kernel):
    return _convolve(stride, padding, x, kernel), (x, kernel)


def _convolve_backward(stride, padding, saved, dy):
    x, kernel = saved
    of_x = functools.partial(_plain_convolve, stride, padding, kernel=kernel.astype(x.dtype))
    (dx,) = jax.linear_transpose(of_x, x)(dy)
    # dw is x convolved by dy: the batch is contracted, the stride dilates dy, and the padding is
    # what the taps of a kernel reach.
    sizes = zip(x.shape[1:3], dy.shape[1:3], kernel.shape[:2], padding, strict=True)
    reach = [(low, (m - 1) * stride + k - n - low) for n, m, k, (low, _) in sizes]
    dw = lax.conv_general_dilated(
        x,
        dy,
        window_strides=(1, 1),
        padding=reach,
        rhs_dilation=(stride, stride),
        dimension_numbers=("CHWN", "IHWO", "HWNC"),
        preferred_element_type=kernel.dtype,
    )
    return dx, dw


_convolve.defvjp(_convolve_forward, _convolve_backward)
