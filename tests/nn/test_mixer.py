import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.nn.mixer import Mixer, mixes

SPATIAL = jax.random.normal(jax.random.key(0), (2, 3, 4, 5))
TEMPORAL = jax.random.normal(jax.random.key(1), (2, 3, 4, 5))


def blend(net, logit, spatial=SPATIAL, temporal=TEMPORAL, image_only=None):
    params = {"logit": jnp.asarray(logit, jnp.float32)}
    return np.asarray(net.apply({"params": params}, spatial, temporal, image_only))


@pytest.mark.parametrize("logit", [-1.3, 0.0, 2.0])
def test_a_scalar_mix_is_the_paper_s_blend(logit):
    mix = 1 / (1 + np.exp(-logit))
    expected = mix * SPATIAL + (1 - mix) * TEMPORAL
    np.testing.assert_allclose(blend(Mixer(), logit), expected, atol=1e-6)


def test_a_mix_per_frame_blends_each_frame_by_its_own_weight():
    net = Mixer(mix="per_frame", num_frames=3)
    out = blend(net, [100.0, -100.0, 0.0])
    np.testing.assert_array_equal(out[:, 0], SPATIAL[:, 0])
    np.testing.assert_allclose(out[:, 1], TEMPORAL[:, 1], atol=1e-6)
    np.testing.assert_allclose(out[:, 2], (SPATIAL + TEMPORAL)[:, 2] / 2, atol=1e-6)


def test_equal_inputs_come_out_bit_for_bit():
    for logit in (-0.3, 0.0, 0.7):
        np.testing.assert_array_equal(blend(Mixer(), logit, temporal=SPATIAL), SPATIAL)


def test_image_only_samples_return_the_spatial_output():
    out = blend(Mixer(), -2.0, image_only=jnp.array([True, False]))
    np.testing.assert_array_equal(out[0], SPATIAL[0])
    np.testing.assert_array_equal(out[1], blend(Mixer(), -2.0)[1])


def test_image_only_samples_hear_nothing_of_broken_temporal_layers():
    broken = TEMPORAL.at[0].set(jnp.nan)
    only = jnp.array([True, False])
    out = blend(Mixer(), -2.0, temporal=broken, image_only=only)
    np.testing.assert_array_equal(out, blend(Mixer(), -2.0, image_only=only))

    def loss(logit):
        params = {"logit": logit}
        return Mixer().apply({"params": params}, SPATIAL, broken, only).sum()

    assert np.isfinite(jax.grad(loss)(jnp.zeros(())))


def test_another_number_of_frames_is_refused():
    net = Mixer(mix="per_frame", num_frames=8)
    with pytest.raises(InputError, match="made for 8 frames, got 3"):
        net.init(jax.random.key(0), SPATIAL, TEMPORAL, None)


def test_the_blend_is_float32_under_bfloat16():
    # In bfloat16 1 - mix would round to 0 at this logit and the temporal part would be lost.
    net = Mixer(dtype=jnp.bfloat16)
    spatial, temporal = (
        jnp.zeros((1, 1, 1), jnp.bfloat16),
        jnp.full((1, 1, 1), 1024.0, jnp.bfloat16),
    )
    out = blend(net, 7.0, spatial, temporal)
    assert out.dtype == jnp.bfloat16
    assert float(out[0, 0, 0]) == pytest.approx(1024 / (1 + np.exp(7.0)), rel=5e-3)


def test_mixes_of_a_tree_go_by_the_layer_and_nothing_else_is_one():
    mixer = {"mixer": {"logit": np.float16(0)}}
    tree = {
        "down": {"temporal_a": {**mixer, "conv": {"bias": jnp.ones(2)}}},
        "temporal_b": {"mixer": {"logit": jnp.array([100.0, -100.0])}, "mixer_2": mixer["mixer"]},
    }
    found = mixes(tree)
    assert found.keys() == {"down/temporal_a", "temporal_b"}
    assert found["down/temporal_a"] == 0.5 and found["down/temporal_a"].dtype == jnp.float32
    np.testing.assert_allclose(found["temporal_b"], [1.0, 0.0], atol=1e-6)
