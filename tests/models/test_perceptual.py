"""LPIPS against its formula written out in NumPy, and what a perceptual distance must do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from vldm_jax.core.errors import InputError
from vldm_jax.models import perceptual
from vldm_jax.models.perceptual import LPIPS
from vldm_jax.models.perceptual_weights import load_lpips_weights


def conv(x, kernel, bias, stride, padding):
    """Convolve by summing over kernel offsets, in float64."""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    kh, kw = kernel.shape[:2]
    h, w = ((n - k) // stride + 1 for n, k in zip(x.shape[1:3], (kh, kw), strict=True))
    out = np.zeros((x.shape[0], h, w, kernel.shape[-1]))
    for i in range(kh):
        for j in range(kw):
            part = x[:, i : i + stride * h : stride, j : j + stride * w : stride][:, :h, :w]
            out += part @ kernel[i, j]
    return out + bias


def pool(x, window):
    """Max-pool with stride 2, no padding."""
    h, w = ((n - window) // 2 + 1 for n in x.shape[1:3])
    parts = [
        x[:, i : i + 2 * h : 2, j : j + 2 * w : 2][:, :h, :w]
        for i in range(window)
        for j in range(window)
    ]
    return np.max(parts, axis=0)


def numpy_alexnet_lpips(params, x, y):
    """Equation 1 of the paper on torchvision's AlexNet, from its published layer list."""

    def maps(image):
        image = (image - np.array([-0.030, -0.088, -0.188])) / np.array([0.458, 0.448, 0.450])
        layer = lambda z, i, s, p: np.maximum(conv(z, *weights[i], s, p), 0)  # noqa: E731
        a = layer(image, 0, 4, 2)
        b = layer(pool(a, 3), 1, 1, 2)
        c = layer(pool(b, 3), 2, 1, 1)
        d = layer(c, 3, 1, 1)
        return a, b, c, d, layer(d, 4, 1, 1)

    weights = [
        [np.asarray(params["features"][f"conv_{i}"][n], np.float64) for n in ("kernel", "bias")]
        for i in range(5)
    ]
    total = 0.0
    for i, (fx, fy) in enumerate(zip(maps(x), maps(y), strict=True)):
        fx, fy = (f / (np.sqrt((f**2).sum(-1, keepdims=True)) + 1e-10) for f in (fx, fy))
        total = total + (((fx - fy) ** 2) @ np.asarray(params[f"head_{i}"])).mean((1, 2))
    return total


def smooth_image(seed, h=48, w=64):
    noise = np.random.default_rng(seed).normal(size=(2, h, w, 3))
    image = gaussian_filter(noise, (0, 2, 2, 0))
    return np.float32(np.clip(image / np.abs(image).max(), -1, 1))


@pytest.fixture(scope="module")
def alexnet():
    model = LPIPS("alexnet")
    params = load_lpips_weights("alexnet")
    return jax.jit(lambda x, y: model.apply({"params": params}, x, y)), params


def test_equals_the_formula(alexnet):
    distance, params = alexnet
    x, y = smooth_image(0), smooth_image(1)
    expected = numpy_alexnet_lpips(params, x.astype(np.float64), y.astype(np.float64))
    np.testing.assert_allclose(distance(x, y), expected, rtol=1e-4)


def test_zero_for_equal_images_and_symmetric(alexnet):
    distance, _ = alexnet
    x, y = smooth_image(0), smooth_image(1)
    np.testing.assert_allclose(distance(x, x), 0, atol=1e-12)
    np.testing.assert_allclose(distance(x, y), distance(y, x), rtol=1e-5)


def test_grows_with_noise_and_with_blur(alexnet):
    distance, _ = alexnet
    x = smooth_image(2)
    noise = np.float32(np.random.default_rng(0).normal(size=x.shape))
    noisy = [float(distance(x, x + s * noise)[0]) for s in (0.02, 0.1, 0.4)]
    blurred = [float(distance(x, gaussian_filter(x, (0, s, s, 0)))[0]) for s in (0.5, 1.5, 4.0)]
    assert noisy == sorted(noisy) and blurred == sorted(blurred)
    assert noisy[0] > 0 and blurred[0] > 0


def test_gradient_is_finite_at_equal_and_at_flat_images(alexnet):
    """At x = y the distance has its minimum; flat images have features of length zero."""
    distance, _ = alexnet
    gradient = jax.grad(lambda x, y: jnp.sum(distance(x, y)))
    x = jnp.asarray(smooth_image(3))
    np.testing.assert_allclose(gradient(x, x), 0, atol=1e-6)
    flat = jnp.zeros_like(x)
    assert np.isfinite(gradient(flat, x)).all()
    unit = jax.grad(lambda x: jnp.sum(perceptual._unit(x)))(jnp.zeros((1, 2, 2, 3)))
    assert np.isfinite(unit).all()
    dead = jax.tree.map(jnp.zeros_like, load_lpips_weights("alexnet"))
    zero = jax.grad(lambda x: jnp.sum(LPIPS("alexnet").apply({"params": dead}, x, -x)))(x)
    np.testing.assert_array_equal(zero, 0)


@pytest.mark.parametrize(("net", "count"), [("vgg16", 14_716_160), ("alexnet", 2_470_848)])
def test_trees_of_weights_and_module_agree(net, count):
    """Counts: torchvision's convolutions, and one weight a channel of each compared map."""
    x = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    variables = jax.eval_shape(LPIPS(net).init, jax.random.key(0), x, x)
    weights = load_lpips_weights(net)
    shapes = jax.tree.map(lambda leaf: leaf.shape, variables["params"])
    assert shapes == jax.tree.map(lambda leaf: leaf.shape, weights)
    assert sum(leaf.size for leaf in jax.tree.leaves(weights)) == count
    assert all((weights[f"head_{i}"] >= 0).all() for i in range(5))


def test_clear_errors():
    x = jnp.zeros((1, 16, 16, 3))
    with pytest.raises(InputError, match="16x16 are too small for the alexnet"):
        jax.eval_shape(LPIPS("alexnet").init, jax.random.key(0), x, x)
    with pytest.raises(InputError, match="'resnet' is unknown"):
        jax.eval_shape(LPIPS("resnet").init, jax.random.key(0), x, x)


def test_layer_lists_are_torchvisions():
    kernels = {
        net: [conv.features for stage in stages for conv in stage.convs]
        for net, stages in perceptual.BACKBONES.items()
    }
    assert kernels["vgg16"] == [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    assert kernels["alexnet"] == [64, 192, 384, 256, 256]
