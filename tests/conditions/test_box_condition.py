"""Boxes as tokens: what is no box says nothing, order says nothing, unknown is not none."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy_init import numpy_init

from vldm_jax import conditions
from vldm_jax.conditions.base import Contribution, combine
from vldm_jax.conditions.boxes import Boxes, BoxTokens
from vldm_jax.conditions.table import condition_of, fields_of
from vldm_jax.core.errors import InputError
from vldm_jax.diffusion.guidance import Away, guided
from vldm_jax.models import table
from vldm_jax.nn.temporal import TemporalSpec

MOST = 5
FIELDS = {
    "channels": (8,), "attention": (True,), "layers_per_level": 1, "heads": 2, "context_dim": 8,
    "norm_groups": 4, "more_conditions": ({"kind": "boxes", "most": MOST},),
}  # fmt: skip
Z = jax.random.normal(jax.random.key(0), (1, 3, 5, 4))
TIME = jnp.array([300.0])
ONE, OTHER, THIRD = (0.1, 0.5, 0.3, 0.7), (0.6, 0.5, 0.7, 0.6), (0.0, 0.2, 1.0, 0.4)
NONE, INVERTED, UNKNOWN = (0.0,) * 4, (0.9, 0.9, 0.2, 0.2), (np.nan,) * 4
TAKEN = Boxes(most=MOST)


def boxes(*rows):
    return jnp.array(rows, jnp.float32).reshape(1, -1, 4)


@functools.cache
def network(**more):
    return table.module_of("unet", FIELDS | more, jnp.float32)


@functools.cache
def random_params(net):
    """Every parameter random: no zero hides a path."""
    rng = np.random.default_rng(0)
    shapes = table.abstract_params(net, *net.smallest_inputs(4))
    return jax.tree.map(lambda s: jnp.asarray(0.3 * rng.normal(size=s.shape), jnp.float32), shapes)


@functools.partial(jax.jit, static_argnums=0)
def run(net, params, told):
    return net.apply({"params": params}, Z, TIME, {"boxes": told})


@pytest.fixture(scope="module")
def predict():
    """The prediction for boxes, of a network that is told nothing else."""
    net = network()
    return lambda *rows: np.asarray(run(net, random_params(net), boxes(*rows)))


def test_what_is_no_box_changes_nothing_whatever_its_numbers_are(predict):
    base = predict(ONE, NONE, OTHER)
    np.testing.assert_array_equal(predict(ONE, INVERTED, OTHER), base)
    np.testing.assert_array_equal(predict(ONE, (0.3, 0.3, 0.3, 0.9), OTHER), base)
    assert np.abs(predict(ONE, THIRD, OTHER) - base).max() > 1e-3


def test_how_many_rows_are_no_boxes_changes_nothing(predict):
    np.testing.assert_allclose(
        predict(ONE, NONE, OTHER, NONE, NONE), predict(ONE, OTHER), atol=1e-5
    )


def test_the_order_of_boxes_changes_nothing(predict):
    base = predict(ONE, OTHER, THIRD)
    for order in ((THIRD, ONE, OTHER), (OTHER, THIRD, ONE)):
        np.testing.assert_allclose(predict(*order), base, atol=1e-5)
    assert np.abs(predict(ONE, OTHER, OTHER) - base).max() > 1e-3


def test_unknown_boxes_are_not_none_and_have_no_places(predict):
    none, unknown = predict(NONE, NONE), predict(UNKNOWN, UNKNOWN)
    assert np.isfinite(unknown).all() and np.abs(none - unknown).max() > 1e-3
    np.testing.assert_allclose(predict(UNKNOWN), unknown, atol=1e-5)


def test_gradients_are_finite_and_reach_boxes_alone():
    net = network()
    params = random_params(net)

    def loss(told):
        return jnp.square(run(net, params, told)).sum()

    (grad,) = jax.jit(jax.grad(loss))(boxes(ONE, NONE, UNKNOWN))
    assert np.isfinite(grad).all()
    np.testing.assert_array_equal(np.abs(grad).max(1) > 1e-6, [True, False, False])


def test_tokens_are_of_the_boxes_whatever_the_sample():
    """Row by row, and one token before them."""
    net = BoxTokens(8)
    told = jnp.concatenate([boxes(ONE, NONE), boxes(OTHER, ONE), boxes(UNKNOWN, UNKNOWN)])
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(net.init, jax.random.key(0), told)["params"]
    params = jax.tree.map(lambda s: jnp.asarray(rng.normal(size=s.shape), jnp.float32), shapes)
    tokens, there = net.apply({"params": params}, told)
    assert tokens.shape == (3, 3, 8)
    np.testing.assert_array_equal(there, [[1, 1, 0], [1, 1, 1], [1, 0, 0]])
    np.testing.assert_allclose(tokens[0, 1], tokens[1, 2], atol=1e-5)
    np.testing.assert_array_equal(tokens[0, 0], tokens[1, 0])
    assert np.abs(tokens[0, 0] - tokens[2, 0]).max() > 0.1


def test_a_box_a_pixel_aside_is_another_token():
    """The finest wave tells 1/128 of the picture."""
    net = BoxTokens(8)
    told = jnp.concatenate([boxes((0.5, 0.4, 0.54, 0.47)), boxes((0.5078, 0.4, 0.5478, 0.47))])
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(net.init, jax.random.key(0), told)["params"]
    params = jax.tree.map(lambda s: jnp.asarray(rng.normal(size=s.shape), jnp.float32), shapes)
    tokens, _ = net.apply({"params": params}, told)
    assert np.abs(tokens[0, 1] - tokens[1, 1]).max() > 0.1


def test_dropped_is_unknown_is_null():
    told = jnp.tile(boxes(ONE, NONE), (400, 1, 1))
    dropped = conditions.drop((TAKEN,), {"boxes": told}, jax.random.key(0), 0.3, {})["boxes"]
    gone = np.isnan(dropped).all((1, 2))
    assert 80 < gone.sum() < 160
    np.testing.assert_array_equal(dropped[~gone], told[~gone])
    null = conditions.null_of((TAKEN,), {"boxes": told}, {})["boxes"]
    everything = conditions.drop((TAKEN,), {"boxes": told}, jax.random.key(0), 1.0, {})["boxes"]
    np.testing.assert_array_equal(null, everything)
    assert np.isnan(null).all()


def test_guidance_goes_away_from_unknown_boxes(predict):
    """f + (s - 1) (f - f of unknown boxes), and nothing where they are unknown anyway."""
    net = network()
    params = random_params(net)

    def by(told, scale):
        cond = {"boxes": told}
        away = Away(conditions.null_of((TAKEN,), cond, {}), scale)
        answer = guided(lambda z, t, c: net.apply({"params": params}, z, t, c), cond, away)
        return np.asarray(jax.jit(answer)(Z, TIME))

    f, unknown = predict(ONE, NONE), predict(UNKNOWN, UNKNOWN)
    np.testing.assert_allclose(by(boxes(ONE, NONE), 3.0), f + 2 * (f - unknown), atol=1e-5)
    np.testing.assert_allclose(by(boxes(UNKNOWN, UNKNOWN), 3.0), unknown, atol=1e-5)


def test_fresh_boxes_have_no_place():
    """Their tokens are zeros: two boxes are two zeros, wherever they lie."""
    fresh = numpy_init(BoxTokens(8), boxes(ONE, UNKNOWN))
    tokens, _ = BoxTokens(8).apply({"params": fresh}, boxes(ONE, UNKNOWN))
    assert not tokens.any()
    net = network()
    params = random_params(net) | {"condition_boxes": fresh}
    places = (ONE, OTHER, NONE), (THIRD, ONE, NONE)
    here, there = (run(net, params, boxes(*rows)) for rows in places)
    np.testing.assert_array_equal(here, there)


def test_tokens_of_other_conditions_are_all_there():
    ours = Contribution(context=jnp.zeros((2, 3, 4)), there=jnp.array([[True, False, True]] * 2))
    text = Contribution(context=jnp.ones((2, 2, 4)))
    emb = jnp.zeros((2, 4))
    told = combine(emb, (text, Contribution(), ours))
    np.testing.assert_array_equal(told.there, [[1, 1, 1, 0, 1]] * 2)
    assert combine(emb, (text, Contribution())).there is None


def test_a_program_takes_any_number_of_images():
    net = network()
    (size,) = jax.export.symbolic_shape("b")

    def of(*shape):
        return jax.ShapeDtypeStruct((size, *shape), jnp.float32)

    def call(params, z, time, told):
        return net.apply({"params": params}, z, time, {"boxes": told})

    shapes = table.abstract_params(net, *net.smallest_inputs(4))
    program = jax.export.export(jax.jit(call))(shapes, of(3, 5, 4), of(), of(MOST, 4))
    assert program.out_avals[0].shape == (size, 3, 5, 4)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_masks_hold_in_either_precision(dtype):
    net = network().clone(dtype=dtype)
    params = random_params(network())
    masked, base = (run(net, params, boxes(ONE, row, OTHER)) for row in (INVERTED, NONE))
    np.testing.assert_array_equal(masked, base)
    assert np.isfinite(base).all()


def test_files_name_them():
    assert condition_of({"kind": "boxes"}) == Boxes(most=32)
    assert condition_of(fields_of(TAKEN)) == TAKEN
    with pytest.raises(InputError, match="kind 'boxes': most=0 must be a whole number"):
        condition_of({"kind": "boxes", "most": 0})


@pytest.mark.parametrize(
    ("fields", "told", "message"),
    [
        ({}, jnp.zeros((1, 4)), r"boxes must be b n 4 \(x0 y0 x1 y1\), got \(1, 4\)"),
        ({}, jnp.zeros((1, 3, 5)), "boxes must be b n 4"),
        ({"context_dim": None}, boxes(ONE), "boxes become context tokens, which need a context_d"),
    ],
)
def test_what_a_network_does_not_take_is_one_line(fields, told, message):
    net = network(**fields)
    with pytest.raises(InputError, match=message):
        jax.eval_shape(net.init, jax.random.key(0), Z, TIME, {"boxes": told})


def test_a_video_network_does_not_take_them():
    net = network().clone(temporal=TemporalSpec())
    with pytest.raises(InputError, match="boxes are of one image, a video U-Net does not take"):
        table.abstract_params(net, *net.smallest_inputs(4))


# What samples are asked for.


def asked(value):
    return TAKEN.rows(value, "config.sampling.boxes")


def test_one_request_is_for_all_samples_and_several_are_taken_in_turn():
    (row,) = asked((ONE, OTHER))
    np.testing.assert_allclose(row, np.array([ONE, OTHER, NONE, NONE, NONE], np.float32))
    assert np.isnan(asked(None)).all() and asked(None).shape == (1, MOST, 4)
    assert asked(()).shape == (1, MOST, 4) and not asked(()).any()
    several = asked(((ONE,), None, (), (OTHER, ONE)))
    assert several.shape == (4, MOST, 4)
    assert [TAKEN.as_json(row) for row in several] == [
        [list(ONE)], None, [], [list(OTHER), list(ONE)],
    ]  # fmt: skip


def test_captions_say_the_boxes():
    words = [TAKEN.describe(row, ()) for row in asked(((ONE, OTHER), None, (), (ONE,) * 5))]
    assert words[:3] == ["boxes 0.1,0.5,0.3,0.7; 0.6,0.5,0.7,0.6", "boxes any", "no boxes"]
    assert words[3] == "5 boxes " + "; ".join(["0.1,0.5,0.3,0.7"] * 4) + "; ..."


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (((0.1, 0.5, 1.3, 0.7),), "the box 0.1,0.5,1.3,0.7 leaves the image: give fractions"),
        (((0.1, -0.5, 0.3, 0.7),), "the box 0.1,-0.5,0.3,0.7 leaves the image"),
        (((0.1, 0.5, np.nan, 0.7),), "leaves the image"),
        (((0.3, 0.5, 0.1, 0.7),), "the box 0.3,0.5,0.1,0.7 has no area: give left and top first"),
        (((0.1, 0.7, 0.3, 0.7),), "has no area"),
        (((0.1, 0.5, 0.3),), "the box 0.1,0.5,0.3 has 3 numbers, not x0 y0 x1 y1"),
        ((ONE,) * 6, "asks for 6 boxes in one image, the network takes at most 5"),
        (ONE, "must be boxes"),
        ("0.1,0.5,0.3,0.7", "must be boxes"),
        ((ONE, (OTHER,)), "must be boxes"),
        (((ONE, ("a", 0, 0, 1)),), "must be boxes"),
        (((True, False, True, True),), "must be boxes"),
    ],
)
def test_what_are_no_boxes_is_said_in_one_line(value, message):
    with pytest.raises(InputError, match=message) as caught:
        asked(value)
    said = str(caught.value)
    assert said.startswith("config.sampling.boxes") and "\n" not in said
