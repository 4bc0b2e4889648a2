"""A conditioning input from outside: a class and a row of the table, and a network takes it."""

import dataclasses
import json
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vldm_jax import conditions
from vldm_jax.conditions.base import Condition, Contribution
from vldm_jax.conditions.table import condition_of, fields_of
from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.export.functions import network_functions
from vldm_jax.models import table
from vldm_jax.models.network import Denoiser
from vldm_jax.nn.dense import Dense
from vldm_jax.nn.embeddings import EmbeddingMLP, sinusoid

FIELDS = {
    "channels": [4],
    "attention": [True],
    "layers_per_level": 1,
    "heads": 2,
    "context_dim": 4,
    "norm_groups": 2,
}
Z = jax.random.normal(jax.random.key(0), (2, 3, 2, 2, 4))
TIME = jnp.array([10.0, 700.0])
SPEED = jnp.array([[3.0, 1.0], [5.0, 2.0]])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wind(Condition):
    """Speed and gusts (b 2), -1 where unknown: of the temporal layers, or tokens for all."""

    as_tokens: bool = False
    scales: tuple[float, ...] = (1.0,)
    key: ClassVar[str] = "wind"

    @property
    def gives_tokens(self):
        return self.as_tokens

    def example(self):
        return jax.ShapeDtypeStruct((1, 2), jnp.float32)

    def null(self, value, given):
        return jnp.full_like(value, -1.0)

    def embed(self, cond, *, width, token_width):
        value = cond[self.key] * self.scales[0]
        if self.as_tokens:
            return Contribution(
                context=Dense(token_width, name="condition_wind")(value[:, :, None])
            )
        embed = EmbeddingMLP(width, width, name="temporal_condition_wind")
        return Contribution(emb_temporal=embed(sinusoid(value[:, 0], width)))


@pytest.fixture(autouse=True)
def row(monkeypatch):
    monkeypatch.setitem(conditions.CONDITIONS, "wind", Wind)


def network(kind="video_unet", **wind):
    """Build from what a config or a weights file says, as it comes out of JSON."""
    more = [{"kind": "wind", **wind}]
    fields = json.loads(json.dumps(FIELDS | {"more_conditions": more}))
    return table.module_of(kind, fields, jnp.float32)


def random_params(net):
    rng = np.random.default_rng(0)
    shapes = table.abstract_params(net, *net.smallest_inputs(4))
    return jax.tree.map(lambda s: jnp.asarray(0.3 * rng.normal(size=s.shape), jnp.float32), shapes)


def run(net, params, z, cond):
    return jax.jit(lambda p, c: net.apply({"params": p}, z, TIME, c))(params, cond)


CONTEXT = {"context": jnp.ones((2, 1, 4))}


def test_the_network_s_fields_say_it_and_come_back():
    net = network(scales=(0.5, 2.0))
    fields = table.fields_of(net)
    assert fields["more_conditions"] == (
        {"kind": "wind", "as_tokens": False, "scales": (0.5, 2.0)},
    )
    assert table.module_of("video_unet", json.loads(json.dumps(fields)), jnp.float32) == net
    assert [condition.key for condition in net.conditions] == [
        "context",
        "context_temporal",
        "wind",
    ]
    assert conditions.needs(net.conditions) == ("context", "wind")


@pytest.mark.slow
def test_temporal_layers_hear_of_it_and_nothing_else_does():
    net = network()
    params = random_params(net)
    own = [path for path in paths.flatten(params) if "wind" in path]
    assert own and all(path.startswith("temporal_condition_wind/") for path in own)

    cond = CONTEXT | {"wind": SPEED, "image_only": jnp.array([False, True])}
    base = run(net, params, Z, cond)
    changed = run(net, params, Z, cond | {"wind": SPEED + 1.0})
    assert float(jnp.abs(changed[0] - base[0]).max()) > 1e-4
    np.testing.assert_array_equal(changed[1], base[1])


@pytest.mark.slow
def test_tokens_stand_in_for_text_and_reach_the_prediction():
    net = network("unet", as_tokens=True)
    params = random_params(net)
    assert conditions.needs(net.conditions) == ("wind",)
    base = run(net, params, Z[:, 0], {"wind": SPEED})
    changed = run(net, params, Z[:, 0], {"wind": SPEED.at[0, 1].set(9.0)})
    assert float(jnp.abs(changed[0] - base[0]).max()) > 1e-4
    np.testing.assert_array_equal(changed[1], base[1])
    beside_text = run(net, params, Z[:, 0], CONTEXT | {"wind": SPEED})
    assert float(jnp.abs(beside_text - base).max()) > 1e-4


def test_it_is_dropped_and_guided_with_the_others():
    net = network()
    cond = {"context": jnp.ones((400, 1, 4)), "wind": jnp.ones((400, 2))}
    given = {"context": jnp.zeros((1, 1, 4))}
    dropped = conditions.drop(net.conditions, cond, jax.random.key(0), 0.5, given)
    wind, text = dropped["wind"][:, 0] == -1.0, dropped["context"][:, 0, 0] == 0.0
    assert 150 < int(wind.sum()) < 250 and 50 < int((wind & text).sum()) < 150
    np.testing.assert_array_equal(dropped["wind"][:, 0], dropped["wind"][:, 1])
    null = conditions.null_of(net.conditions, cond, given)
    np.testing.assert_array_equal(null["wind"], -1.0)


def test_a_network_that_takes_it_wants_it_and_another_refuses_it():
    net = network("unet")
    with pytest.raises(InputError, match="has more_conditions, but the conditioning has no wind"):
        run(net, {}, Z[:, 0], CONTEXT)
    plain = table.module_of("unet", FIELDS, jnp.float32)
    with pytest.raises(InputError, match="conditioning has wind, but the network takes context"):
        run(plain, {}, Z[:, 0], CONTEXT | {"wind": SPEED})


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([{"kind": "rain"}], "unknown kind of condition 'rain'; there are text, .*wind"),
        ([{"scales": [1.0]}], "unknown kind of condition None"),
        ([{"kind": "wind", "speed": 3}], "condition of kind 'wind' has no field 'speed'"),
        ([{"kind": "labels"}], "condition of kind 'labels' needs its field 'kinds'"),
        ([{"kind": "wind"}, {"kind": "wind"}], "two conditions have the key 'wind'"),
        ({"kind": "wind"}, "more_conditions must be a list of conditions"),
        (["wind"], "more_conditions must be a list of conditions"),
    ],
)
def test_what_no_condition_can_be_made_of_is_refused_in_one_line(more, message):
    with pytest.raises(InputError, match=message) as caught:
        net = table.module_of("unet", FIELDS | {"more_conditions": more}, jnp.float32)
        table.abstract_params(net, *net.smallest_inputs(4))
    assert "\n" not in str(caught.value)


def test_a_class_without_a_row_cannot_be_written(monkeypatch):
    monkeypatch.delitem(conditions.CONDITIONS, "wind")
    with pytest.raises(InputError, match="Wind cannot be named in a file: give it a row"):
        fields_of(Wind())


def test_a_condition_is_what_its_fields_say():
    wind = Wind(as_tokens=True, scales=(2.0,))
    assert condition_of(json.loads(json.dumps(fields_of(wind)))) == wind


@pytest.mark.slow
def test_a_loaded_network_and_its_program_take_it():
    """By the key of the condition: nothing else says what a network is told."""
    net = network()
    shapes = table.abstract_params(net, *net.smallest_inputs(4))
    loaded = Denoiser(kind="video_unet", module=net, params=shapes, fields=table.fields_of(net))
    (function,) = network_functions(loaded, size=(2, 2), frames=3, tokens=5).values()
    assert list(function.inputs) == ["z", "time", "context", "wind"]
    assert function.inputs["wind"] == Wind().example()
    assert function.inputs["context"].shape == (1, 5, 4)
    assert function.meanings["context"] == "text tokens"
    assert jax.eval_shape(function.call, shapes, **function.inputs).shape == (1, 3, 2, 2, 4)

    def call(params, **told):
        text = jnp.zeros((2, 1, 4))
        return dataclasses.replace(loaded, params=params)(Z, TIME, text, **told)

    assert jax.eval_shape(call, shapes, wind=SPEED).shape == Z.shape
    with pytest.raises(InputError, match="conditioning has sun, but the network takes"):
        jax.eval_shape(call, shapes, wind=SPEED, sun=SPEED)
