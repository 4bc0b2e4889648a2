"""Context frames in the video U-Net: what they change, what they do not, and where they reach."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_unet import COND, FIELDS, FRAMES, TIME, Z, is_temporal, trained_params, unoptimised

from vldm_jax.conditions.context_frames import ContextFrames, context_of
from vldm_jax.conditions.context_noise import ContextNoise
from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.models import table
from vldm_jax.models.unet import UNet
from vldm_jax.nn.motion import MotionSpec
from vldm_jax.nn.temporal import TemporalSpec

CONDITIONS = (ContextFrames(channels=4), ContextNoise())
NET = UNet(**FIELDS, temporal=TemporalSpec(), more_conditions=CONDITIONS)
CLEAN = jax.random.normal(jax.random.key(3), Z.shape)
ROUNDING = 1e-5  # of outputs of deviation 1
FIRST = jnp.array([[True, False, False]] * 2)
NONE = jnp.zeros((2, FRAMES), bool)


@functools.cache
def shapes():
    return paths.flatten(table.abstract_params(NET, *NET.smallest_inputs(4)))


@functools.cache
def params(fresh):
    """What older layers have, and what context frames add: as it begins, or random, too."""
    older, rng = paths.flatten(trained_params()), np.random.default_rng(0)
    added = table.init_params(
        NET, jax.random.key(0), *NET.smallest_inputs(4), keep=lambda path: path not in older
    )
    new = paths.flatten(added)
    if not fresh:
        new = {path: leaf + 0.3 * rng.normal(size=leaf.shape) for path, leaf in new.items()}
    return paths.unflatten({**older, **{p: jnp.float32(leaf) for p, leaf in new.items()}})


@unoptimised
def denoise(params, z, cond):
    return NET.apply({"params": params}, z, TIME, COND | cond, train=False)


def told(given, z=CLEAN, noise=0.0):
    return {
        "context_frames": context_of(z, given),
        "context_noise": jnp.full((2,), noise, jnp.float32),
    }


def test_the_value_is_the_given_latents_and_the_mask():
    value = context_of(CLEAN, FIRST)
    np.testing.assert_array_equal(value[:, 0, ..., :4], CLEAN[:, 0])
    np.testing.assert_array_equal(value[:, 1:], 0)
    np.testing.assert_array_equal(value[:, 0, ..., 4], 1)
    hidden = context_of(CLEAN.at[:, 1:].set(jnp.nan), FIRST)
    np.testing.assert_array_equal(hidden, value)


def test_all_that_they_add_is_temporal_and_as_large_as_it_should_be():
    older = paths.flatten(trained_params()).keys()
    added = {path: leaf.shape for path, leaf in shapes().items() if path not in older}
    assert older < shapes().keys() and all(map(is_temporal, added))
    # A kernel (3, 5, 8) in each of the 8 residual blocks, and one level of the pyramid.
    kernels = [shape for path, shape in added.items() if path.endswith("conv1_maps/kernel")]
    assert kernels == [(3, 5, 8)] * 8
    assert added["temporal_maps_1/kernel"] == (3, 3, 5, 5)
    assert not any("maps" in path and path.endswith("bias") for path in added)


def test_when_fresh_they_change_nothing():
    """Layers from before go on as they were, whichever frames are given; two programs round."""
    alone, given = denoise(params(True), Z, {}), denoise(params(True), Z, told(FIRST, noise=100.0))
    np.testing.assert_allclose(given, alone, rtol=0, atol=ROUNDING)
    np.testing.assert_array_equal(denoise(params(True), Z, told(NONE, noise=7.0)), given)


def test_no_frame_given_is_nothing_told():
    alone = denoise(params(False), Z, {})
    none = told(NONE)["context_frames"]
    np.testing.assert_allclose(
        denoise(params(False), Z, {"context_frames": none}), alone, rtol=0, atol=ROUNDING
    )
    some = told(FIRST)["context_frames"]
    assert jnp.abs(denoise(params(False), Z, {"context_frames": some}) - alone).max() > 1e-2


def test_the_level_of_noise_has_a_say():
    few, much = (denoise(params(False), Z, told(FIRST, noise=n)) for n in (0.0, 200.0))
    assert jnp.abs(few - much).max() > 1e-3


def test_spatial_layers_do_not_see_them():
    """Where temporal layers are bypassed, context frames have no way in."""
    flags = {"image_only": jnp.array([True, False])}
    given, alone = (denoise(params(False), Z, cond | flags) for cond in (told(FIRST), {}))
    np.testing.assert_array_equal(given[0], alone[0])
    assert jnp.abs(given[1] - alone[1]).max() > 1e-2


def test_what_is_given_reaches_the_frames_and_what_is_not_does_not():
    def outputs(clean):
        cond = COND | told(FIRST, clean)
        return NET.apply({"params": params(False)}, Z, TIME, cond, train=False)

    reach = jax.jacrev(lambda clean: jnp.square(outputs(clean)).sum((0, 2, 3, 4)))(CLEAN)
    reach = np.abs(reach).max(axis=(1, 3, 4, 5))  # frame of the result, frame of the context
    assert (reach[:, 0] > 0).all() and (reach[:, 1:] == 0).all()


@pytest.mark.parametrize(
    "fields",
    [{}, {"temporal": TemporalSpec(convolutions=False)}, {"temporal": MotionSpec()}],
    ids=["image", "attention only", "animatediff"],
)
def test_a_network_without_temporal_convolutions_takes_none(fields):
    net = UNet(**FIELDS, **fields, more_conditions=CONDITIONS[:1])
    with pytest.raises(InputError, match="context.frames"):
        table.abstract_params(net, *net.smallest_inputs(4))


def test_other_channels_are_refused():
    with pytest.raises(InputError, match="must be b t h w 5 .* got .2, 3, 3, 5, 4"):
        denoise(params(True), Z, {"context_frames": CLEAN})
