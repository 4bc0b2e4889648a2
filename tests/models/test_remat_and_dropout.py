"""Recomputed layers are the stored ones, and dropout is on in training, in space and in time."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_unet import BATCH, COND, CONTEXT, FIELDS, FRAMES, TIME, Z, is_temporal

from vldm_jax.core import paths
from vldm_jax.models.table import abstract_params
from vldm_jax.models.unet import UNet
from vldm_jax.models.unet_blocks import Stage
from vldm_jax.nn.motion import MotionSpec
from vldm_jax.nn.stage import Signals
from vldm_jax.nn.temporal import TemporalSpec

ONE_LEVEL = FIELDS | {"channels": (8,)}
FAMILIES = {
    "video_ldm": ONE_LEVEL | {"attention": (True,), "temporal": TemporalSpec()},
    # Its modules stand after layers, attention or not.
    "animatediff": ONE_LEVEL | {"attention": (False,), "temporal": MotionSpec(heads=2)},
}
KEY, OTHER = jax.random.key(7), jax.random.key(8)
RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(BATCH * FRAMES, 3, 5, 8)), jnp.float32)
EMB = jnp.asarray(RNG.normal(size=(BATCH * FRAMES, 6)), jnp.float32)
SIGNALS = Signals(
    emb=EMB,
    emb_temporal=EMB,
    context=CONTEXT,
    there=None,
    context_temporal=CONTEXT,
    maps=None,
    image_only=None,
    frames=FRAMES,
    train=True,
)


def network(family, remat=False):
    return UNet(**FAMILIES[family], dropout=0.3, remat=remat)


def stage(family, remat=False):
    """The network's way down, of one layer."""
    return Stage(network(family, remat)._spec(0, "down", 0))


def inputs():
    return X, (), SIGNALS


def network_params(family):
    return abstract_params(network(family), *network(family).smallest_inputs(4))


@functools.cache
def params(family):
    init = functools.partial(stage(family).init, jax.random.key(0))
    shapes = jax.eval_shape(init, *inputs())["params"]
    draw = np.random.default_rng(0).normal
    return jax.tree.map(lambda leaf: jnp.asarray(0.3 * draw(size=leaf.shape), jnp.float32), shapes)


@functools.partial(jax.jit, static_argnums=0)
def output_and_gradient(net, params, key):
    def loss(params):
        out, _ = net.apply({"params": params}, *inputs(), rngs={"dropout": key})
        return jnp.square(out).mean(), out

    grads, out = jax.grad(loss, has_aux=True)(params)
    return out, paths.flatten(grads)


@pytest.mark.slow
@pytest.mark.parametrize(
    "family", ["video_ldm", pytest.param("animatediff", marks=pytest.mark.slow)]
)
def test_recomputed_layers_give_equal_outputs_and_gradients_with_dropout(family):
    stored, again = (
        output_and_gradient(stage(family, remat), params(family), KEY) for remat in (False, True)
    )
    np.testing.assert_allclose(again[0], stored[0], rtol=0, atol=1e-5)
    assert again[1].keys() == stored[1].keys()
    largest = max(float(jnp.abs(leaf).max()) for leaf in stored[1].values())
    for path, leaf in stored[1].items():
        assert np.isfinite(leaf).all() and np.abs(leaf).any(), path
        np.testing.assert_allclose(again[1][path], leaf, atol=1e-5 * largest, err_msg=path)


@pytest.mark.parametrize("remat", [False, True])
def test_dropout_follows_its_key(remat):
    net, own = stage("video_ldm", remat), params("video_ldm")
    once, again, other = (output_and_gradient(net, own, key)[0] for key in (KEY, KEY, OTHER))
    np.testing.assert_array_equal(once, again)
    assert float(jnp.abs(once - other).max()) > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_of_the_network_is_recomputed_if_asked(family):
    """Down 1, middle 2, up 2."""
    shapes = network_params(family)
    for remat, layers in ((False, 0), (True, 5)):
        apply = functools.partial(network(family, remat).apply, train=False)
        program = jax.make_jaxpr(apply)({"params": shapes}, Z, TIME, COND)
        names = [equation.primitive.name for equation in program.eqns]
        assert sum("remat" in name for name in names) == layers


def test_dropout_is_on_in_every_residual_block_spatial_and_temporal():
    found = {}

    def record(call, args, kwargs, context):
        if isinstance(context.module, nn.Dropout):
            found["/".join(context.module.path)] = context.module
        return call(*args, **kwargs)

    net, shapes = network("video_ldm"), network_params("video_ldm")
    with nn.intercept_methods(record):
        apply = functools.partial(net.apply, train=True, rngs={"dropout": KEY})
        jax.eval_shape(apply, {"params": shapes}, Z, TIME, COND)
    blocks = {path for path in paths.flatten(shapes) if path.endswith("/conv2/bias")}
    assert len(found) == len(blocks) > 2
    assert 2 * sum(map(is_temporal, found)) == len(found)
    assert all(module.rate == 0.3 and not module.deterministic for module in found.values())
