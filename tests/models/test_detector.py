"""Boxes to maps and back, and a detector that learns to find rectangles."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vldm_jax.checkpoint.weights import load_weights, save_weights
from vldm_jax.core.errors import InputError
from vldm_jax.models import table
from vldm_jax.models.detector import Detector
from vldm_jax.models.detector_maps import STRIDE, decode, encode
from vldm_jax.stages.detector_loss import blur, coarsen, cross_entropy, detection_loss, focal, spoil

SIZE = (48, 80)
NONE = jnp.zeros((1, 0))
WEIGHTS = {"size_weight": 1.0, "offset_weight": 1.0, "attribute_weight": 1.0}


def separated(seed, count=6):
    """Boxes in a grid of places, none of which touch: in pixels, of any fractions."""
    rng = np.random.default_rng(seed)
    places = rng.permutation(15)[:count]
    centre = np.stack([places % 5, places // 5], -1) * 16 + 8 + rng.uniform(-2, 2, (count, 2))
    half = rng.uniform(1, 5.5, (count, 2))
    boxes = np.concatenate([centre - half, centre + half], -1) / np.array([[80, 48, 80, 48]])
    return boxes.astype(np.float32)


def logits(maps):
    """The maps of a network that is right and sure."""
    heat = jnp.clip(maps.heat, 1e-6, 1 - 1e-6)
    return maps._replace(heat=jnp.log(heat / (1 - heat)))


def as_set(boxes):
    return np.array(sorted(map(tuple, np.asarray(boxes))))


@pytest.mark.parametrize("seed", range(5))
def test_boxes_come_back_from_their_maps(seed):
    boxes = separated(seed)
    rows = np.concatenate([boxes, np.zeros((3, 4), np.float32)])[None]
    is_box = (np.arange(9) < 6)[None]
    maps = encode(jnp.asarray(rows), jnp.asarray(is_box), SIZE, NONE)
    found = decode(logits(maps), SIZE)
    sure = np.asarray(found.scores[0]) > 0.99
    assert sure.sum() == 6 and sure[:6].all()
    assert (np.asarray(found.scores[0])[6:] < 1e-4).all()  # the sides of a peak are none
    np.testing.assert_allclose(as_set(found.boxes[0][:6]), as_set(boxes), atol=1e-5)


def test_a_heat_map_is_1_at_centres_alone_and_of_two_boxes_in_a_cell_the_larger_counts():
    small, large = [0.5, 0.5, 0.52, 0.53], [0.41, 0.41, 0.61, 0.61]
    for pair in ([small, large], [large, small]):
        maps = encode(jnp.array([pair]), jnp.ones((1, 2), bool), SIZE, NONE)
        (row, column) = np.argwhere(np.asarray(maps.heat[0]) == 1).tolist()[0]
        assert (np.asarray(maps.heat) == 1).sum() == 1
        assert (row, column) == (int(0.51 * 48 / STRIDE), int(0.51 * 80 / STRIDE))
        wide = jnp.exp(maps.size[0, row, column]) * STRIDE
        np.testing.assert_allclose(wide, [0.2 * 80, 0.2 * 48], rtol=1e-4)


def test_a_frame_of_an_odd_size_has_its_boxes():
    boxes = jnp.array([[[0.8, 0.8, 1.0, 1.0]]])
    maps = encode(boxes, jnp.ones((1, 1), bool), (17, 31), NONE)
    assert maps.heat.shape == (1, 9, 16)
    np.testing.assert_allclose(decode(logits(maps), (17, 31)).boxes[0, 0], boxes[0, 0], atol=1e-5)


def test_the_loss_is_least_at_the_targets():
    """Whatever moves away from the targets, it grows; there it is 0 but for the heat's tails."""
    key = jax.random.key(0)
    boxes, is_box = jnp.asarray(separated(0))[None], jnp.ones((1, 6), bool)
    target = encode(boxes, is_box, SIZE, jnp.ones((1, 1)))

    def loss(maps):
        return float(detection_loss(maps, target, **WEIGHTS)[0])

    sharp = jnp.where(target.heat == 1, 20.0, -20.0)
    right = target._replace(heat=sharp, attributes=jnp.full((1, 1), 20.0))
    assert loss(right) < 1e-6
    for name in ("size", "offset"):
        moved = 0.1 * jax.random.normal(key, target.size.shape)
        assert loss(right._replace(**{name: getattr(right, name) + moved})) > 0.01
    for push in (sharp * 0.1, -sharp, jnp.roll(sharp, 1, 1), jnp.zeros_like(sharp)):
        assert loss(right._replace(heat=push)) > 0.01
    assert loss(right._replace(attributes=jnp.full((1, 1), -1.0))) > 1


def test_cells_near_a_centre_are_punished_less():
    target = jnp.array([[[1.0, 0.8, 0.0]]])
    _, near, far = focal(jnp.zeros((1, 1, 3)), target)[0, 0]
    np.testing.assert_allclose(near / far, 0.2**4, rtol=1e-4)


def test_unknown_attributes_have_no_say():
    logit, target = jnp.array([[0.3, 2.0], [-1.0, 5.0]]), jnp.array([[1.0, np.nan], [0.0, np.nan]])
    gradient = jax.grad(lambda x: cross_entropy(x, target))(logit)
    assert not gradient[:, 1].any() and np.isfinite(gradient).all()
    known = cross_entropy(logit[:, :1], target[:, :1])
    np.testing.assert_allclose(cross_entropy(logit, target), known, rtol=1e-6)
    assert cross_entropy(logit, jnp.full((2, 2), jnp.nan)) == 0


# Frames that are spoilt.


def test_spoiling_by_nothing_changes_nothing():
    x = jax.random.uniform(jax.random.key(1), (2, 20, 30, 3), minval=-1, maxval=1)
    none = jnp.zeros((2, 1, 1, 1))
    np.testing.assert_allclose(blur(x, none), x, atol=1e-5)
    np.testing.assert_allclose(coarsen(x, none), x, atol=1e-3)


def test_blur_keeps_the_mean_of_what_is_even_and_spreads_a_point_as_a_gaussian():
    x = jnp.zeros((1, 21, 21, 1)).at[0, 10, 10].set(1.0)
    spread = np.asarray(blur(x, jnp.full((1, 1, 1, 1), 1.2)))[0, :, :, 0]
    y = np.arange(21) - 10
    np.testing.assert_allclose(spread.sum(), 1, rtol=1e-5)
    np.testing.assert_allclose((spread.sum(1) * y**2).sum(), 1.2**2, rtol=0.02)
    np.testing.assert_allclose(blur(jnp.ones((1, 9, 9, 3)), jnp.ones((1, 1, 1, 1))), 1, rtol=1e-5)


def test_coarse_blocks_lose_detail_and_keep_their_mean():
    x = 0.3 * jax.random.normal(jax.random.key(2), (1, 16, 16, 1)) + 0.1
    coarse = coarsen(x, jnp.full((1, 1, 1, 1), 8.0))
    blocks = coarse.reshape(2, 8, 2, 8)
    assert np.ptp(np.asarray(blocks), axis=(1, 3)).max() < 1e-4  # but the mean nothing is left


def test_frames_are_spoilt_each_in_its_way_and_stay_in_range():
    x = jnp.broadcast_to(
        jax.random.uniform(jax.random.key(3), (1, 16, 24, 3)) * 2 - 1, (4, 16, 24, 3)
    )
    spoilt = np.asarray(spoil(x, jax.random.key(4)))
    assert spoilt.shape == x.shape and np.abs(spoilt).max() <= 1
    apart = np.abs(spoilt - np.asarray(x)).mean((1, 2, 3))
    assert (apart > 0.005).all() and len(set(apart.round(5))) == 4


# The network.


def small(**fields):
    return Detector(**{"widths": (8, 16), "blocks": 1, "head": 8, "norm_groups": 4} | fields)


def params_of(net, seed=0):
    return table.init_params(net, jax.random.key(seed), *net.smallest_inputs(3))


@pytest.mark.parametrize("size", [(1, 1), (17, 31), (64, 128)])
def test_frames_of_any_size_have_maps(size):
    net = small(widths=(8, 16, 16, 8))
    maps = jax.eval_shape(
        lambda p, x: net.apply({"params": p}, x), params_of(net), jnp.zeros((2, *size, 3))
    )
    half = tuple(-(-side // 2) for side in size)
    assert maps.heat.shape == (2, *half) and maps.size.shape == (2, *half, 2)
    assert maps.attributes.shape == (2, 1)


def test_frames_do_not_see_each_other():
    net = small()
    params = jax.tree.map(lambda p: p + 0.05, params_of(net))
    x = jax.random.normal(jax.random.key(1), (3, 16, 24, 3))
    apply = jax.jit(lambda x: net.apply({"params": params}, x))
    together, alone = apply(x), apply(x[1:2])
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_allclose(a[1:2], b, atol=1e-5)


def test_a_detector_is_saved_and_loaded_by_its_kind(tmp_path):
    net = small(threshold=0.4)
    meta = {"kind": "detector", "config": table.fields_of(net)}
    save_weights(tmp_path / "d.safetensors", params_of(net), meta)
    _, read = load_weights(tmp_path / "d.safetensors")
    assert table.module_of(read["kind"], read["config"], jnp.float32) == net


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"widths": ()}, "widths=.* must be a tuple of 1 or more"),
        ({"threshold": 1.5}, "threshold=1.5 must be in"),
        ({"norm_groups": 3}, "norm groups 3 do not divide the width"),
    ],
)
def test_what_no_detector_has_is_named(fields, message):
    with pytest.raises(InputError, match=message):
        params_of(small(**fields))


def frames_of(seed, count=16):
    """Dark or light frames with one to three bright rectangles, their boxes, and which are dark."""
    rng = np.random.default_rng(seed)
    dark = rng.integers(0, 2, (count, 1)).astype(np.float32)
    x = rng.normal(-0.4 - 0.4 * dark[:, :, None, None], 0.05, (count, 24, 40, 3))
    boxes, is_box = np.zeros((count, 3, 4), np.float32), np.zeros((count, 3), bool)
    for i in range(count):
        for j, place in enumerate(rng.permutation(6)[: rng.integers(1, 4)]):
            left, top = place % 3 * 13 + rng.integers(0, 4), place // 3 * 12 + rng.integers(0, 4)
            w, h = rng.integers(4, 9), rng.integers(3, 8)
            x[i, top : top + h, left : left + w] = rng.uniform(0.4, 1.0, 3)
            boxes[i, j] = np.array([left, top, left + w, top + h]) / np.array([40, 24, 40, 24])
            is_box[i, j] = True
    return jnp.asarray(x, jnp.float32), jnp.asarray(boxes), jnp.asarray(is_box), jnp.asarray(dark)


@pytest.mark.slow
def test_a_detector_finds_rectangles_after_a_few_steps():
    net, optimiser = small(), optax.adam(1e-2)
    params = params_of(net)
    state = optimiser.init(params)

    @jax.jit
    def step(params, state, batch):
        x, boxes, is_box, dark = batch

        def loss(params):
            maps = net.apply({"params": params}, x)
            return detection_loss(maps, encode(boxes, is_box, (24, 40), dark), **WEIGHTS)[0]

        updates, state = optimiser.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    for seed in range(120):
        params, state = step(params, state, frames_of(seed))
    x, boxes, is_box, dark = frames_of(1000)
    maps = net.apply({"params": params}, x)
    found = decode(maps, (24, 40), most=8)
    counts = (np.asarray(found.scores) > 0.3).sum(1)
    assert (counts == np.asarray(is_box).sum(1)).mean() > 0.8
    assert ((np.asarray(maps.attributes) > 0) == np.asarray(dark)).all()
    for i, n in enumerate(counts):
        near = np.abs(np.asarray(found.boxes)[i, :n, None] - np.asarray(boxes)[i][None]).max(-1)
        assert (near.min(1) < 3 / 24).mean() > 0.6
