"""The motion module by itself: identity, what sees what, positions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy_init import numpy_init

from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.nn.motion import MotionModule, MotionSpec, frame_positions

FRAMES, WIDTH = 5, 8
X = jax.random.normal(jax.random.key(0), (2 * FRAMES, 2, 3, WIDTH))


def module(**fields):
    return MotionModule(**{"heads": 2, "groups": 4, **fields})


@functools.cache
def fresh():
    return numpy_init(module(), X, frames=FRAMES)


@functools.cache
def trained():
    flat = paths.flatten(fresh())
    rng = np.random.default_rng(0)
    return paths.unflatten(
        {k: v + 0.3 * jnp.asarray(rng.normal(size=v.shape), jnp.float32) for k, v in flat.items()}
    )


def run(params, x, net=None, **kwargs):
    return (net or module()).apply({"params": params}, x, frames=FRAMES, **kwargs)


def test_a_fresh_module_is_the_identity_and_a_trained_one_joins_frames_not_videos():
    np.testing.assert_array_equal(run(fresh(), X), X)
    params = trained()
    grad = jax.jit(jax.grad(lambda x: run(params, x)[0].sum()))(X)
    touched = np.abs(grad).sum((1, 2, 3)) > 0
    assert touched[:FRAMES].all() and not touched[FRAMES:].any()


def test_image_only_samples_return_their_input():
    out = run(trained(), X, image_only=jnp.array([True, False]))
    np.testing.assert_array_equal(out[:FRAMES], X[:FRAMES])
    np.testing.assert_array_equal(out[FRAMES:], run(trained(), X)[FRAMES:])
    assert np.abs(out[FRAMES:] - X[FRAMES:]).max() > 1e-2


@pytest.mark.parametrize("joint", [True, False])
def test_norm_statistics_are_of_all_frames_or_of_each(joint):
    """Without attention, frames meet in the norm or nowhere."""
    silent = ("attn1/to_out_0", "attn2/to_out_0")
    flat = paths.flatten(trained())
    params = paths.unflatten(
        {k: jnp.zeros_like(v) if any(s in k for s in silent) else v for k, v in flat.items()}
    )
    grad = jax.grad(lambda x: run(params, x, module(joint_norm=joint))[0].sum())(X)
    touched = np.abs(grad).sum((1, 2, 3)) > 0
    assert touched.tolist() == [True] + [joint] * (FRAMES - 1) + [False] * FRAMES


def test_only_positions_tell_the_order_of_frames(monkeypatch):
    order = jnp.array([3, 0, 4, 1, 2])
    both = jnp.concatenate([order, order + FRAMES])
    assert not np.allclose(run(trained(), X)[both], run(trained(), X[both]), atol=1e-3)
    still = lambda frames, width: jnp.ones((frames, width))  # noqa: E731
    monkeypatch.setattr("vldm_jax.nn.motion.frame_positions", still)
    np.testing.assert_allclose(run(trained(), X)[both], run(trained(), X[both]), atol=1e-5)


def test_positions_turn_pairs_of_sine_and_cosine_at_geometric_rates():
    table = np.asarray(frame_positions(40, 6)).reshape(40, 3, 2)
    pairs = table[..., 1] + 1j * table[..., 0]
    turns = pairs[1:] / pairs[:-1]
    np.testing.assert_allclose(pairs[0], 1.0, atol=1e-6)
    np.testing.assert_allclose(
        turns, np.exp(1j * 10_000.0 ** -np.array([[0, 1 / 3, 2 / 3]])).repeat(39, 0), atol=1e-5
    )


def test_blocks_have_their_own_parameters():
    net = module(num_blocks=2)
    shapes = jax.eval_shape(functools.partial(net.init, frames=FRAMES), jax.random.key(0), X)
    assert set(shapes["params"]) == {
        *("norm", "proj_in", "proj_out"),
        *("transformer_blocks_0", "transformer_blocks_1"),
    }


def test_positions_have_no_parameters_and_end():
    """One net of parameters for any length up to the limit, and an error beyond."""
    out = module(max_frames=10).apply({"params": trained()}, X, frames=2 * FRAMES)
    assert out.shape == X.shape and np.abs(out - run(trained(), X)).max() > 1e-2
    with pytest.raises(InputError, match="got 10 frames, but positions end at max_frames 9"):
        module(max_frames=9).apply({"params": trained()}, X, frames=2 * FRAMES)


@pytest.mark.parametrize("field", ["heads", "max_frames", "num_blocks"])
def test_a_wrong_spec_is_refused(field):
    with pytest.raises(InputError, match=f"temporal layers: {field}=0 must be a whole number"):
        MotionSpec(**{field: 0})
