import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy_init import numpy_init
from scipy.signal import correlate

from vldm_jax.nn.conv import Conv
from vldm_jax.nn.resampling import Downsample, Upsample


def reference(x, kernel, bias, padding, stride):
    x = np.pad(x, ((0, 0), *padding, (0, 0)))
    out = np.stack(
        [
            np.stack([correlate(image, kernel[..., o], "valid")[..., 0] for image in x])
            for o in range(kernel.shape[-1])
        ],
        axis=-1,
    )
    return out[:, ::stride, ::stride] + bias


def filled(net, x):
    params = numpy_init(net, x)
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape), jnp.float32), params)


CASES = {
    "3x3": (Conv(4), ((1, 1), (1, 1)), 1),
    "1x1": (Conv(4, (1, 1)), ((0, 0), (0, 0)), 1),
    "halved": (Downsample(), ((1, 1), (1, 1)), 2),
    "halved, padded at the far side": (Downsample(asymmetric=True), ((0, 1), (0, 1)), 2),
}


@pytest.mark.parametrize("name", CASES)
def test_equals_scipy(name):
    net, padding, stride = CASES[name]
    x = np.random.default_rng(1).normal(size=(2, 6, 5, 3)).astype(np.float32)
    params = filled(net, jnp.asarray(x))
    leaf = jax.tree.map(np.asarray, params["conv"] if "conv" in params else params)
    out = net.apply({"params": params}, jnp.asarray(x))
    expected = reference(x, leaf["kernel"], leaf["bias"], padding, stride)
    np.testing.assert_allclose(out, expected, atol=1e-5)


def test_pointwise_convolution_is_a_matrix_product():
    x = jnp.zeros((1, 4, 4, 3))
    net = Conv(2, (1, 1))
    params = numpy_init(net, x)
    assert params["kernel"].shape == (1, 1, 3, 2)
    text = jax.jit(lambda p: net.apply({"params": p}, x)).lower(params).as_text()
    assert "stablehlo.convolution" not in text and "stablehlo.dot_general" in text


@pytest.mark.parametrize("size", [(6, 4), (5, 3)])
def test_upsampling_repeats_pixels_up_to_the_size_that_was_halved(size):
    x = np.arange(6, dtype=np.float32).reshape(1, 3, 2, 1)
    net = Upsample()
    kernel = np.zeros((3, 3, 1, 1), np.float32)
    kernel[1, 1] = 1.0
    params = {"conv": {"kernel": jnp.asarray(kernel), "bias": jnp.zeros((1,))}}
    out = net.apply({"params": params}, jnp.asarray(x), size)
    rows, cols = ((np.arange(n) * (m / n)).astype(int) for n, m in zip(size, (3, 2), strict=True))
    np.testing.assert_array_equal(out, x[:, rows][:, :, cols])
