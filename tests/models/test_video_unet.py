"""The video U-Net against the image U-Net, and what information goes where in it.

What is exact and what is rounding: an inserted temporal layer returns its input bit for bit,
however XLA compiles it. The two whole networks are two programs, in which an optimising XLA rounds
the spatial layers differently: there they agree to a few times 1e-6.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_unet import (
    BATCH,
    COND,
    CONTEXT,
    FIELDS,
    FRAMES,
    OPTIMISED,
    TIME,
    UNOPTIMISED,
    VIDEO,
    Z,
    fold,
    fresh_params,
    image,
    images_of_videos,
    is_temporal,
    per_frame,
    spatial,
    trained_params,
    video,
)

from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.models.unet import UNet
from vldm_jax.nn.mixer import Mixer
from vldm_jax.nn.temporal import TemporalResBlock, TemporalSpec, TemporalTransformer

LAYERS = (TemporalResBlock, TemporalTransformer, Mixer)
FLAGS = jnp.array([True, False])
# Absolute, on outputs of deviation 1.1; 1.2e-6 was found (x86-64, jax 0.10.2).
ROUNDING = 1e-5


@functools.cache
def inserted_layers(kind, flagged):
    """Return [(module, path, args, kwargs)]: one layer of each shape, its inputs random."""
    found = {}

    def note(call, args, kwargs, context):
        layer = context.module
        if isinstance(layer, kind) and context.method_name == "__call__":
            found[args[0].shape] = (layer.clone(parent=None, name=None), layer.path), args, kwargs
        return call(*args, **kwargs)

    with nn.intercept_methods(note):
        shapes(VIDEO, Z.shape, COND | ({"image_only": FLAGS} if flagged else {}))
    rng = np.random.default_rng(0)

    def draw(leaf):
        if not isinstance(leaf, jax.Array):
            return leaf
        return FLAGS if leaf.dtype == bool else jnp.float32(rng.normal(size=leaf.shape))

    return [(*layer, *jax.tree.map(draw, inputs)) for layer, *inputs in found.values()]


def output_of(layer, path, args, kwargs, params, options):
    """Run one layer as a program of its own; parameters are inputs, so no zero is folded away."""
    own = functools.reduce(lambda tree, name: tree[name], path, params)

    def run(own, arrays):
        return layer.apply({"params": own}, *arrays, **kwargs)

    return jax.jit(run, compiler_options=options)(own, args)


BOTH = pytest.mark.parametrize(
    "options",
    [
        pytest.param(OPTIMISED, marks=pytest.mark.slow, id="optimised"),
        pytest.param(UNOPTIMISED, id="unoptimised"),
    ],
)
EACH = pytest.mark.parametrize("kind", LAYERS)


@BOTH
@EACH
def test_an_inserted_layer_returns_its_input_bit_for_bit(kind, options):
    """A mixer does so where both its inputs are the same."""
    layers = inserted_layers(kind, flagged=False)
    assert len(layers) == {TemporalResBlock: 2, TemporalTransformer: 1, Mixer: 3}[kind]
    for layer, path, args, kwargs in layers:
        args = (args[0], args[0], args[2]) if kind is Mixer else args
        out = output_of(layer, path, args, kwargs, fresh_params(), options)
        np.testing.assert_array_equal(out, args[0], err_msg="/".join(path))


@BOTH
@EACH
def test_a_trained_layer_returns_image_only_samples_bit_for_bit(kind, options):
    for layer, path, args, kwargs in inserted_layers(kind, flagged=True):
        out = output_of(layer, path, args, kwargs, trained_params(), options)
        out, x = (a.reshape(BATCH, -1) for a in (out, args[0]))
        np.testing.assert_array_equal(out[0], x[0], err_msg="/".join(path))
        assert float(jnp.abs(out[1] - x[1]).max()) > 1e-2


def image_model(params):
    """Run the image U-Net on every frame."""
    return images_of_videos(spatial(params), fold(Z), TIME, COND).reshape(Z.shape)


def optimised(run, *args):
    """Run a jitted function of `tiny_unet` as XLA compiles it for users."""
    return jax.jit(run.__wrapped__, compiler_options=OPTIMISED)(*args)


def test_at_insertion_the_video_model_is_the_image_model():
    out = video(fresh_params(), Z, TIME, COND)
    assert out.dtype == jnp.float32 and float(out.std()) > 1.0
    np.testing.assert_allclose(out, image_model(fresh_params()), rtol=0, atol=ROUNDING)
    # Images that don't know of each other: other shapes in cross-attention, so other rounding.
    cond = {"context": per_frame(CONTEXT)}
    alone = image(spatial(fresh_params()), fold(Z), per_frame(TIME), cond).reshape(Z.shape)
    np.testing.assert_allclose(out, alone, atol=ROUNDING)


def test_without_convolutions_the_other_layers_stay_and_frames_meet_in_attention_alone():
    """The paper's attention-only ablation: the same network, less the residual blocks."""
    net = UNet(**FIELDS, temporal=TemporalSpec(convolutions=False))
    wanted = jax.eval_shape(
        lambda: net.init(jax.random.key(0), Z, TIME, COND, train=False)["params"]
    )
    less, everything = paths.flatten(wanted), paths.flatten(trained_params())
    left_out = everything.keys() - less.keys()
    assert left_out and all("temporal_resnets" in path for path in left_out)
    params = paths.unflatten({path: everything[path] for path in less})

    def frames(z):
        return net.apply({"params": params}, z, TIME, COND, train=False)

    moved = jnp.abs(frames(Z.at[:, 0].add(1.0)) - frames(Z)).max(axis=(0, 2, 3, 4))
    assert (moved > 1e-3).all()
    silent = {
        p: 0 * v if "temporal_attentions" in p else v for p, v in paths.flatten(params).items()
    }
    params = paths.unflatten(silent)
    moved = jnp.abs(frames(Z.at[:, 0].add(1.0)) - frames(Z)).max(axis=(0, 2, 3, 4))
    assert moved[0] > 1e-3 and (moved[1:] == 0).all()


@pytest.mark.slow
def test_at_insertion_optimised_programs_agree_too():
    out = video(fresh_params(), Z, TIME, COND)
    frames = spatial(fresh_params()), fold(Z), TIME, COND
    fast, fast_image = (
        optimised(video, fresh_params(), Z, TIME, COND),
        optimised(images_of_videos, *frames).reshape(Z.shape),
    )
    np.testing.assert_allclose(fast, fast_image, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(fast, out, rtol=0, atol=ROUNDING)


def test_image_only_samples_are_what_the_image_model_makes_of_them():
    out = video(trained_params(), Z, TIME, COND | {"image_only": FLAGS})
    expected = image_model(trained_params())
    np.testing.assert_allclose(out[0], expected[0], rtol=0, atol=ROUNDING)
    assert float(jnp.abs(out[1] - expected[1]).max()) > 1e-2


@pytest.fixture(scope="module")
def gradients():
    """Gradient of the first video's first frame with respect to everything."""

    def first_frame(params, z, time, context, context_temporal):
        cond = {"context": context, "context_temporal": context_temporal}
        out = VIDEO.apply({"params": params}, z, time, cond, train=False)
        return jnp.square(out[0, 0]).sum()

    grad = jax.jit(jax.grad(first_frame, argnums=(0, 1, 2, 3, 4)))
    return lambda params: grad(params, Z, TIME, CONTEXT, CONTEXT + 1.0)


def frames_touched(gradient):
    return (np.abs(gradient).sum((2, 3, 4)) > 0).tolist()


def test_frames_meet_in_temporal_layers_only_and_videos_never(gradients):
    _, z, *_ = gradients(fresh_params())
    assert frames_touched(z) == [[True, False, False], [False] * FRAMES]
    params, z, time, context, context_temporal = gradients(trained_params())
    assert frames_touched(z) == [[True] * FRAMES, [False] * FRAMES]
    assert float(time[0]) != 0 and float(time[1]) == 0
    assert np.abs(context[0]).any() and not np.abs(context[1]).any()
    assert np.abs(context_temporal[0]).any() and not np.abs(context_temporal[1]).any()
    idle = [k for k, g in paths.flatten(params).items() if not np.abs(g).any()]
    assert not idle


def test_the_temporal_context_reaches_temporal_layers_only(gradients):
    # At insertion temporal layers add nothing, so their context can't matter; the spatial one does.
    params, _, _, context, context_temporal = gradients(fresh_params())
    assert not np.abs(context_temporal).any() and np.abs(context[0]).any()
    # Yet the layers that start at zero receive a gradient: training can begin.
    ends = ("conv2/kernel", "net_2/kernel", "to_out_0/kernel")
    flat = paths.flatten(params)
    started = [k for k in flat if is_temporal(k) and k.endswith(ends)]
    assert started and all(np.abs(flat[k]).any() for k in started)


def test_without_a_temporal_context_temporal_layers_take_the_spatial_one():
    out = video(trained_params(), Z, TIME, COND)
    same = video(trained_params(), Z, TIME, COND | {"context_temporal": CONTEXT})
    other = video(trained_params(), Z, TIME, COND | {"context_temporal": CONTEXT + 1.0})
    np.testing.assert_array_equal(out, same)
    assert float(jnp.abs(out - other).max()) > 1e-3


def test_a_sample_does_not_depend_on_its_batch():
    both = video(trained_params(), Z, TIME, COND)
    alone = video(trained_params(), Z[:1], TIME[:1], {"context": CONTEXT[:1]})
    np.testing.assert_allclose(both[:1], alone, atol=1e-5)


def shapes(net, z, cond):
    z = jax.ShapeDtypeStruct(z, jnp.float32)
    time = jax.ShapeDtypeStruct(z.shape[:1], jnp.float32)
    init = lambda *args: net.init(*args, train=False)  # noqa: E731
    flat = paths.flatten(jax.eval_shape(init, jax.random.key(0), z, time, cond)["params"])
    return {path: leaf.shape for path, leaf in flat.items()}


def test_spatial_parameters_are_the_image_model_s_path_for_path():
    net = shapes(VIDEO, Z.shape, COND)
    alone = shapes(UNet(**FIELDS), Z[:, 0].shape, COND)
    assert alone == {path: shape for path, shape in net.items() if not is_temporal(path)}


def test_a_mix_per_frame_has_a_weight_for_each_and_wants_that_many():
    net = UNet(**FIELDS, temporal=TemporalSpec(mix="per_frame", num_frames=FRAMES))
    mixes = {k: s for k, s in shapes(net, Z.shape, COND).items() if k.endswith("mixer/logit")}
    assert mixes and set(mixes.values()) == {(FRAMES,)}
    with pytest.raises(InputError, match=f"made for {FRAMES} frames, got {FRAMES + 1}"):
        shapes(net, (BATCH, FRAMES + 1, *Z.shape[2:]), COND)


def test_an_image_may_be_concatenated_to_every_frame():
    net = UNet(**{**FIELDS, "context_dim": None}, temporal=TemporalSpec())
    low = jnp.zeros((BATCH, *Z.shape[2:4], 3))
    once = shapes(net, Z.shape, {"concat": low})
    each = jnp.repeat(low[:, None], FRAMES, axis=1)
    assert once == shapes(net, Z.shape, {"concat": each})
    assert once["conv_in/kernel"] == (3, 3, 7, 8)


def test_a_temporal_context_for_a_network_without_context_is_refused():
    net = UNet(**{**FIELDS, "context_dim": None}, temporal=TemporalSpec())
    with pytest.raises(InputError, match="context_temporal, but the network has no context_dim"):
        shapes(net, Z.shape, {"context_temporal": CONTEXT})
