"""The video U-Net on longer clips and larger frames than its layers were trained on.

A frame reaches two frames further in every temporal residual block (two convolutions over 3 frames)
and `max_frame_distance` further in every temporal transformer; the longest way through the network
has all of them.

Source: Align your Latents, arXiv:2304.08818, Sec. 3.2 and App. D.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.models import table
from vldm_jax.models.unet import UNet
from vldm_jax.nn.mixer import Mixer
from vldm_jax.nn.temporal import TemporalResBlock, TemporalSpec

FIELDS = {
    "channels": (8,), "attention": (True,), "layers_per_level": 1, "heads": 2, "context_dim": 4,
    "norm_groups": 4, "out_channels": 4,
}  # fmt: skip
LONG = {"positions": "relative", "norms": "per_frame"}
BLOCKS, TRANSFORMERS = 1 + 2 + 2, 1 + 1 + 2  # down, middle, up
CONTEXT = jax.random.normal(jax.random.key(1), (1, 3, 4))


def network(**temporal):
    return UNet(**FIELDS, temporal=TemporalSpec(**temporal))


@functools.cache
def params(convolutions=True):
    """Every parameter random: no zero hides a way. Of any positions, norms and distance."""
    net = network(convolutions=convolutions)
    shapes = table.abstract_params(net, *net.smallest_inputs(4))
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: (
            jnp.asarray(rng.normal(size=leaf.shape), jnp.float32)
            / max(1, np.prod(leaf.shape[:-1])) ** 0.5
        ),
        shapes,
    )


@functools.partial(jax.jit, static_argnames="net")
def run(net, params, z):
    time, cond = jnp.array([500.0]), {"context": CONTEXT}
    return net.apply({"params": params}, z, time, cond, train=False)


def video(frames, height=2, width=2):
    return jax.random.normal(jax.random.key(2), (1, frames, height, width, 4))


def touched(net, params, frames, frame):
    """Return (t): whether a frame of the output depends on each frame of the input."""
    own = jax.grad(lambda z: jnp.square(run(net, params, z)[0, frame]).sum())
    return np.abs(jax.jit(own)(video(frames))[0]).sum((1, 2, 3)) > 0


CASES = [
    pytest.param({}, 1, TRANSFORMERS + 2 * BLOCKS, id="all layers, next frames"),
    pytest.param(
        {"convolutions": False}, 3, 3 * TRANSFORMERS, id="attention alone, three frames",
        marks=pytest.mark.slow,
    ),
    pytest.param({}, 0, 2 * BLOCKS, id="convolutions alone", marks=pytest.mark.slow),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "distance", "reach"), CASES)
def test_a_frame_depends_on_those_within_the_reach_of_the_stack_and_no_other(
    fields, distance, reach
):
    net = network(**LONG, **fields, max_frame_distance=distance)
    frames = 2 * reach + 5
    middle = frames // 2
    expected = np.abs(np.arange(frames) - middle) <= reach
    own = params(fields.get("convolutions", True))
    np.testing.assert_array_equal(touched(net, own, frames, middle), expected)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(
            {"convolutions": False}, id="attention without a limit", marks=pytest.mark.slow
        ),
        pytest.param(
            {"norms": "joint", "max_frame_distance": 1}, id="statistics over all frames",
            marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
def test_without_a_limit_or_with_joint_norms_a_frame_depends_on_all(fields):
    frames = 2 * (TRANSFORMERS + 2 * BLOCKS) + 5
    own = params(fields.get("convolutions", True))
    assert touched(network(**LONG | fields), own, frames, frames // 2).all()


@pytest.mark.parametrize(
    ("convolutions", "positions", "same"),
    [
        pytest.param(False, "relative", True, id="attention alone"),
        pytest.param(True, "relative", True, id="all layers", marks=pytest.mark.slow),
        # These tell where a frame is, whatever it sees.
        pytest.param(True, "absolute", False, id="absolute positions", marks=pytest.mark.slow),
    ],
)
def test_inner_frames_do_not_know_how_long_the_clip_is(convolutions, positions, same):
    """Frames further from an end than the reach are what they are in a longer clip."""
    reach = TRANSFORMERS + (2 * BLOCKS if convolutions else 0)
    long = video(2 * reach + 11)
    part = slice(4, 4 + 2 * reach + 3)
    fields = {**LONG, "positions": positions, "convolutions": convolutions}
    net, own = network(**fields, max_frame_distance=1), params(convolutions)
    of_long, of_part = run(net, own, long)[0, part], run(net, own, long[:, part])[0]
    apart = np.abs(of_part - of_long).max((1, 2, 3))
    assert float(of_long.std()) > 0.1 and apart[0] > 1e-3  # the ends do
    assert (apart[reach : reach + 3].max() < 2e-5) == same


def test_norms_of_each_frame_have_the_parameters_of_joint_ones_and_agree_on_single_frames():
    block, x = TemporalResBlock(Mixer, groups=4), jax.random.normal(jax.random.key(3), (3, 2, 2, 8))
    own = jax.tree.map(
        lambda leaf: leaf + 0.3, block.init(jax.random.key(0), x, frames=3, train=False)
    )
    each = block.clone(joint_norms=False)
    for frames, equal in ((1, True), (3, False)):
        out = [net.apply(own, x, frames=frames, train=False) for net in (block, each)]
        assert np.allclose(*out, atol=1e-6) == equal


@pytest.mark.parametrize(("height", "width"), [(4, 10), pytest.param(6, 2, marks=pytest.mark.slow)])
def test_other_sizes_take_the_same_parameters(height, width):
    """Any multiple of what the network halves, here 2: its attention takes as many tokens."""
    net = UNet(**FIELDS | {"channels": (8, 8), "attention": (False, True)}, temporal=TemporalSpec())
    small = table.abstract_params(net, *net.smallest_inputs(4))
    inputs = net.example_inputs((1, 3, height, width, 4), tokens=2)
    assert paths.flatten(table.abstract_params(net, *inputs)) == paths.flatten(small)
    out = jax.eval_shape(lambda p, *x: net.apply({"params": p}, *x, train=False), small, *inputs)
    assert out.shape == (1, 3, height, width, 4)


def test_a_wrong_choice_of_norms_is_named():
    with pytest.raises(InputError, match="norms 'frame' is unknown; use one of"):
        TemporalSpec(norms="frame")
