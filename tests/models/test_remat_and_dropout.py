"""Recomputed layers are the stored ones, and dropout is on in training, in space and in time."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_unet import COND, FIELDS, TIME, Z, is_temporal

from vldm_jax.core import paths
from vldm_jax.models.table import abstract_params
from vldm_jax.models.unet import UNet
from vldm_jax.nn.motion import MotionSpec
from vldm_jax.nn.temporal import TemporalSpec

ONE_LEVEL = FIELDS | {"channels": (8,)}
FAMILIES = {
    "video_ldm": ONE_LEVEL | {"attention": (True,), "temporal": TemporalSpec()},
    # Its modules stand after layers, attention or not.
    "animatediff": ONE_LEVEL | {"attention": (False,), "temporal": MotionSpec(heads=2)},
}
KEY, OTHER = jax.random.key(7), jax.random.key(8)


@functools.cache
def network(family, dropout=0.0, remat=False):
    return UNet(**FAMILIES[family], dropout=dropout, remat=remat)


@functools.cache
def params(family):
    rng = np.random.default_rng(0)
    tree = abstract_params(network(family), *network(family).smallest_inputs(4))
    return jax.tree.map(lambda s: jnp.asarray(0.3 * rng.normal(size=s.shape), jnp.float32), tree)


@functools.partial(jax.jit, static_argnums=0)
def output_and_gradient(net, params, key):
    def loss(params):
        out = net.apply({"params": params}, Z, TIME, COND, train=True, rngs={"dropout": key})
        return jnp.square(out).mean(), out

    grads, out = jax.grad(loss, has_aux=True)(params)
    return out, paths.flatten(grads)


@pytest.mark.parametrize("family", FAMILIES)
def test_recomputed_layers_give_equal_outputs_and_gradients_with_dropout(family):
    stored, again = (
        output_and_gradient(network(family, 0.3, remat), params(family), KEY)
        for remat in (False, True)
    )
    np.testing.assert_allclose(again[0], stored[0], rtol=0, atol=1e-5)
    assert again[1].keys() == stored[1].keys()
    largest = max(float(jnp.abs(leaf).max()) for leaf in stored[1].values())
    for path, leaf in stored[1].items():
        assert np.isfinite(leaf).all() and np.abs(leaf).any(), path
        np.testing.assert_allclose(again[1][path], leaf, atol=1e-5 * largest, err_msg=path)


@pytest.mark.parametrize("remat", [False, True])
def test_dropout_follows_its_key(remat):
    net, own = network("video_ldm", 0.3, remat), params("video_ldm")
    once, again, other = (output_and_gradient(net, own, key)[0] for key in (KEY, KEY, OTHER))
    np.testing.assert_array_equal(once, again)
    assert float(jnp.abs(once - other).max()) > 1e-3


def test_dropout_is_on_in_every_residual_block_spatial_and_temporal():
    found = {}

    def record(call, args, kwargs, context):
        if isinstance(context.module, nn.Dropout):
            found["/".join(context.module.path)] = context.module
        return call(*args, **kwargs)

    net = network("video_ldm", 0.3)
    with nn.intercept_methods(record):
        apply = functools.partial(net.apply, train=True, rngs={"dropout": KEY})
        jax.eval_shape(apply, {"params": params("video_ldm")}, Z, TIME, COND)
    blocks = {path for path in paths.flatten(params("video_ldm")) if path.endswith("/conv2/bias")}
    assert len(found) == len(blocks) > 2
    assert 2 * sum(map(is_temporal, found)) == len(found)
    assert all(module.rate == 0.3 and not module.deterministic for module in found.values())
