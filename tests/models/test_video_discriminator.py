"""The discriminator of videos: a 3-D convolution, what it sees of time, clips that do not mix."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.models.discriminator import PatchDiscriminator
from vldm_jax.models.video_discriminator import VideoConv, VideoDiscriminator
from vldm_jax.nn.norm import GroupNorm

CLIP = jax.ShapeDtypeStruct((1, 8, 64, 64, 3), jnp.float32)
SMALL = VideoDiscriminator(base=4, time_strides=(1, 2), norm_groups=2)


def random(shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("strides", [(1, 1), (1, 2), (2, 2), (2, 1)])
def test_a_layer_is_the_convolution_in_three_dimensions(strides):
    x = random((2, 5, 8, 6, 3))
    layer = VideoConv(4, strides, use_bias=False)
    params = layer.init(jax.random.key(0), x)["params"]
    expected = lax.conv_general_dilated(
        x, params["kernel"], (strides[0], strides[1], strides[1]), ((1, 1), (1, 1), (1, 1)),
        dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
    )  # fmt: skip
    np.testing.assert_allclose(layer.apply({"params": params}, x), expected, atol=1e-6)


def test_its_layers_are_the_image_discriminators_with_taps_over_frames():
    video = jax.eval_shape(VideoDiscriminator().init, jax.random.key(0), CLIP)["params"]
    image = jax.eval_shape(
        PatchDiscriminator().init,
        jax.random.key(0),
        jax.ShapeDtypeStruct((1, 64, 64, 3), "float32"),
    )["params"]
    video, image = paths.flatten(video), paths.flatten(image)
    assert video.keys() == image.keys()
    for name, leaf in image.items():
        taps = (3,) if name.endswith("kernel") else ()
        assert video[name].shape == (*taps, *leaf.shape), name


def test_of_eight_frames_four_are_left():
    """A short clip is halved once in time; each picture shrinks as the image discriminator's."""
    model = VideoDiscriminator()
    variables = jax.eval_shape(model.init, jax.random.key(0), CLIP)
    assert jax.eval_shape(model.apply, variables, CLIP).shape == (1, 4, 6, 6, 1)


def without_norms(call, args, kwargs, context):
    """Let videos through the norms untouched, for `nn.intercept_methods`."""
    return args[0] if isinstance(context.module, GroupNorm) else call(*args, **kwargs)


def test_a_logit_sees_a_patch_of_a_few_frames():
    """Read off the gradient, without the norms, whose statistics are global."""
    # Three taps at strides 1, 2, 1, 1 over frames: 1 + 2 (1 + 1 + 2 + 2) = 13, of 21.
    x = random((1, 21, 32, 32, 3))
    variables = jax.jit(SMALL.init)(jax.random.key(1), x)
    with nn.intercept_methods(without_norms):
        gradient = jax.jit(jax.grad(lambda x: SMALL.apply(variables, x)[0, 5, 2, 2, 0]))(x)
    seen = np.flatnonzero(np.abs(gradient).sum((0, 2, 3, 4)))
    assert (seen.min(), seen.max()) == (10 - 6, 10 + 6)


def test_it_tells_the_order_of_frames_which_no_judge_of_images_can():
    x = random((1, 8, 32, 32, 3))
    variables = jax.jit(SMALL.init)(jax.random.key(1), x)
    there = jax.jit(SMALL.apply)(variables, x)
    shuffled = jax.jit(SMALL.apply)(variables, x[:, ::2].repeat(2, axis=1))
    assert float(jnp.abs(there - shuffled).max()) > 1e-3 * float(jnp.abs(there).max())


def test_clips_do_not_see_each_other():
    x = random((3, 4, 32, 32, 3))
    variables = jax.jit(SMALL.init)(jax.random.key(1), x)
    alone = jax.jit(SMALL.apply)(variables, x[1:2])
    together = jax.jit(SMALL.apply)(variables, x)
    np.testing.assert_allclose(together[1:2], alone, atol=1e-6)


def test_what_cannot_be_is_named():
    with pytest.raises(InputError, match="norm_groups=32 must divide base=16"):
        jax.eval_shape(VideoDiscriminator(base=16).init, jax.random.key(0), CLIP)
    with pytest.raises(InputError, match="time_strides"):
        VideoDiscriminator(time_strides=())
