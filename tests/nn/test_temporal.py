"""The temporal layers by themselves: identity, what sees what, positions, reach."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy_init import numpy_init

from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.nn.mixer import Mixer
from vldm_jax.nn.temporal import TemporalConv, TemporalResBlock, TemporalSpec, TemporalTransformer

FRAMES, PIXELS, WIDTH = 5, 2, 8
X = jax.random.normal(jax.random.key(0), (2 * FRAMES, PIXELS, WIDTH))
CONTEXT = jax.random.normal(jax.random.key(1), (2, 3, 4))


def noisy(params, seed=0):
    """Move every parameter off its initial value, zeros included."""
    flat = paths.flatten(params)
    rng = np.random.default_rng(seed)
    return paths.unflatten(
        {k: v + 0.3 * jnp.asarray(rng.normal(size=v.shape), jnp.float32) for k, v in flat.items()}
    )


def transformer(**fields):
    return TemporalTransformer(Mixer, heads=2, **fields)


@functools.cache
def transformer_params():
    net = transformer()
    return numpy_init(net, X, CONTEXT, frames=FRAMES)


@functools.partial(jax.jit, static_argnames=("net", "frames"))
def run(net, params, x, frames=FRAMES, context=CONTEXT):
    return net.apply({"params": params}, x, context, frames=frames)


def test_a_fresh_transformer_is_the_identity_whatever_the_positions():
    for positions in ("absolute", "relative"):
        out = run(transformer(positions=positions), transformer_params(), X)
        np.testing.assert_array_equal(out, X)


def test_relative_and_absolute_positions_have_the_same_parameters():
    init = functools.partial(transformer(positions="relative").init, frames=FRAMES)
    shapes = jax.eval_shape(init, jax.random.key(0), X, CONTEXT)["params"]
    ours = jax.tree.map(jnp.shape, transformer_params())
    assert jax.tree.map(lambda s: s.shape, shapes) == ours


def attention_only(params):
    """Silence all but temporal self-attention, which a band and positions act in."""
    flat = paths.flatten(noisy(params))
    silent = ("attn2/to_out_0", "ff/net_2", "ff_in/net_2")
    return paths.unflatten(
        {k: jnp.zeros_like(v) if k.startswith(silent) else v for k, v in flat.items()}
    )


def reach(net, params):
    """Return (t, t): whether frame i of the output depends on frame j of the input."""
    own = jax.jacrev(lambda x: run(net, params, x, context=CONTEXT[:1])[:, 0].sum(-1))
    jacobian = jax.jit(own)(X[:FRAMES])
    return np.abs(jacobian[:, :, 0]).sum(-1) > 0


@pytest.mark.parametrize("distance", [None, 0, 1, 2])
def test_a_band_limits_how_far_frames_see(distance):
    index = np.arange(FRAMES)
    expected = np.abs(index[:, None] - index[None, :]) <= (FRAMES if distance is None else distance)
    net = transformer(max_frame_distance=distance)
    np.testing.assert_array_equal(reach(net, attention_only(transformer_params())), expected)


def test_pixels_do_not_see_each_other():
    params = noisy(transformer_params())
    grad = jax.grad(lambda x: run(transformer(), params, x)[:, 0].sum())(X)
    assert not np.abs(grad[:, 1]).any() and np.abs(grad[:, 0]).all()


def test_relative_positions_do_not_know_where_a_video_starts():
    # Under a band of 1, frames of a longer video away from its ends see what they saw before.
    params = attention_only(transformer_params())
    longer = jnp.concatenate([X[:2] + 1.0, X[:FRAMES], X[:2] - 1.0])
    inner = slice(1, FRAMES - 1)
    for positions, equal in (("relative", True), ("absolute", False)):
        net = transformer(positions=positions, max_frame_distance=1)
        short = run(net, params, X[:FRAMES], context=CONTEXT[:1])
        long = run(net, params, longer, frames=FRAMES + 4, context=CONTEXT[:1])[2:-2]
        assert np.allclose(short[inner], long[inner], atol=1e-5) == equal


@pytest.mark.parametrize("positions", ["absolute", "relative"])
def test_order_of_frames_matters_only_through_positions(positions):
    flat = paths.flatten(noisy(transformer_params()))
    order = jnp.array([3, 0, 4, 1, 2])
    silent = {k: jnp.zeros_like(v) if "position/linear_2" in k else v for k, v in flat.items()}
    for params, equivariant in ((flat, False), (silent, True)):
        net, params = transformer(positions=positions), paths.unflatten(params)
        straight = run(net, params, X[:FRAMES], context=CONTEXT[:1])[order]
        permuted = run(net, params, X[:FRAMES][order], context=CONTEXT[:1])
        assert np.allclose(straight, permuted, atol=1e-5) == equivariant


def res_block(x, params=None, image_only=None):
    net = TemporalResBlock(Mixer, groups=4)
    emb = jnp.ones((len(x), 6))
    kwargs = {"frames": FRAMES, "image_only": image_only, "train": False}
    if params is None:
        return numpy_init(net, x, emb, **kwargs)
    return net.apply({"params": params}, x, emb, **kwargs)


def test_a_fresh_residual_block_is_the_identity_and_a_trained_one_mixes_frames():
    x = X.reshape(2 * FRAMES, 1, PIXELS, WIDTH)
    params = res_block(x)
    np.testing.assert_array_equal(res_block(x, params), x)
    grad = jax.grad(lambda x: res_block(x, noisy(params))[0].sum())(x)
    touched = np.abs(grad).sum((1, 2, 3)) > 0
    assert touched[:FRAMES].all() and not touched[FRAMES:].any()
    flags = jnp.array([True, False])
    out = res_block(x, noisy(params), flags)
    np.testing.assert_array_equal(out[:FRAMES], x[:FRAMES])
    assert np.abs(out[FRAMES:] - x[FRAMES:]).max() > 1e-3


def test_temporal_convolution_equals_a_sum_over_neighbouring_frames():
    x = np.random.default_rng(0).normal(size=(1, 4, 2, 3, 5)).astype(np.float32)
    net = TemporalConv(6)
    params = noisy(numpy_init(net, jnp.asarray(x)))
    kernel, bias = np.asarray(params["kernel"]), np.asarray(params["bias"])
    padded = np.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0), (0, 0)))
    expected = sum(padded[:, i : i + 4] @ kernel[i] for i in range(3)) + bias
    np.testing.assert_allclose(net.apply({"params": params}, jnp.asarray(x)), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mix": "linear"}, "mix 'linear' is unknown"),
        ({"positions": "rotary"}, "positions 'rotary' is unknown"),
        ({"mix": "per_frame"}, "give num_frames"),
        ({"num_frames": 8}, "None with 'scalar'"),
        ({"max_frame_distance": -1}, "at least 0 or None"),
        ({"mix_logit": float("inf")}, "mix_logit=inf must be a finite number"),
        ({"mix": "per_frame", "num_frames": 0}, "num_frames=0 must be a whole number of at least"),
    ],
)
def test_a_wrong_spec_is_refused(fields, message):
    with pytest.raises(InputError, match=message):
        TemporalSpec(**fields)
