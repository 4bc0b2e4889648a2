"""Families from outside: a network, and temporal layers, each a class and a row of its table."""

import dataclasses
import json
from types import SimpleNamespace
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vldm_jax.checkpoint.weights import load_weights, save_weights
from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.core.fields import check_fields
from vldm_jax.models import table
from vldm_jax.models.unet_fields import RULES
from vldm_jax.nn.dense import Dense
from vldm_jax.nn.stage import TemporalLayers

FIELDS = {
    "channels": (4, 6),
    "attention": (False, False),
    "layers_per_level": 1,
    "heads": 2,
    "norm_groups": 2,
}


class Pixelwise(nn.Module):
    """A network that sees each pixel alone."""

    widths: tuple[int, ...] = (3,)
    dtype: object = jnp.float32

    def smallest_inputs(self, channels):
        return (jax.ShapeDtypeStruct((1, 1, 1, channels), jnp.float32),)

    @nn.compact
    def __call__(self, x):
        for i, width in enumerate(self.widths):
            x = nn.silu(Dense(width, dtype=self.dtype, name=f"dense_{i}")(x))
        return x


def test_a_network_from_outside_is_saved_loaded_and_run(monkeypatch, tmp_path):
    monkeypatch.setitem(table.MODULES, "pixelwise", Pixelwise)
    net = table.module_of("pixelwise", {"widths": [5, 2]}, jnp.float32)
    params = table.init_params(net, jax.random.key(0), *net.smallest_inputs(4))
    meta = {"kind": "pixelwise", "config": table.fields_of(net)}
    save_weights(tmp_path / "net.safetensors", params, meta)

    again, read = load_weights(tmp_path / "net.safetensors")
    module = table.module_of(read["kind"], read["config"], jnp.float32)
    assert module == net
    paths.check_fits("the file", again, table.abstract_params(module, *module.smallest_inputs(4)))
    x = jnp.ones((2, 3, 3, 4))
    np.testing.assert_array_equal(
        module.apply({"params": again}, x), net.apply({"params": params}, x)
    )


class TowardsMean(nn.Module):
    """Move each frame towards the mean of all, by a learned weight a channel."""

    level: int

    @nn.compact
    def __call__(self, x, emb, *, maps, frames, image_only, train):
        weight = self.param("weight", nn.initializers.zeros_init(), (x.shape[-1],))
        self.param("level", nn.initializers.constant(self.level), ())
        video = x.reshape(-1, frames, *x.shape[1:])
        mean = video.mean(1, keepdims=True)
        return (video + weight.reshape(1, 1, 1, 1, -1) * (mean - video)).reshape(x.shape)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeanSpec:
    """A family with a layer after residual blocks going down."""

    fewest_frames: int = 2
    takes_maps: ClassVar[bool] = False
    made_for: ClassVar[tuple[str, ...]] = ("channels",)

    def residual(self, name, spec):
        return TowardsMean(spec.level, name=name) if spec.place == "down" else None

    def transformer(self, name, spec):
        return None

    def after_layer(self, name, spec):
        return None


@pytest.mark.slow
def test_temporal_layers_from_outside_make_a_video_network(monkeypatch):
    monkeypatch.setitem(table.FAMILIES, "mean", MeanSpec)
    assert isinstance(MeanSpec(), TemporalLayers)
    fields = FIELDS | {"temporal": {"family": "mean", "fewest_frames": 3}}
    net = table.module_of("video_unet", fields, jnp.float32)
    for kind in table.VIDEO:
        assert table.module_of(kind, json.loads(json.dumps(table.fields_of(net))), net.dtype) == net

    inputs = net.smallest_inputs(4)
    assert inputs[0].shape == (1, 3, 2, 2, 4)
    params = table.init_params(net, jax.random.key(0), *inputs)
    own = {k: v for k, v in paths.flatten(params).items() if "temporal" in k}
    levels = {path: int(leaf) for path, leaf in own.items() if path.endswith("/level")}
    assert levels == {f"down_blocks_{i}/temporal_resnets_0/level": i for i in (0, 1)}

    rng = np.random.default_rng(0)
    random = jax.tree.map(lambda v: jnp.asarray(rng.normal(size=v.shape), jnp.float32), params)
    z = jnp.asarray(rng.normal(size=(1, 3, 4, 4, 4)), jnp.float32)
    first = lambda z: net.apply({"params": random}, z, jnp.ones(1), {})[0, 0].sum()  # noqa: E731
    gradient = jax.jit(jax.grad(first))(z)
    assert np.abs(gradient).sum((0, 2, 3, 4)).all()  # the first frame hears of all


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("gan", {}, "unknown kind of network 'gan'; there are unet, .*, temporal"),
        ("unet", {"temporal": {}}, "with them its kind is 'video_unet'"),
        ("unet", {"width": 3}, "a network of kind 'unet' has no field 'width'"),
        ("autoencoder", {"temporal": {}}, "kind 'autoencoder' has no field 'temporal'"),
        ("video_unet", {"temporal": {"family": "none"}}, "unknown temporal family 'none'"),
    ],
)
def test_what_no_family_has_is_refused(kind, fields, message):
    with pytest.raises(InputError, match=message):
        table.module_of(kind, fields, jnp.float32)


@pytest.mark.parametrize("kind", table.VIDEO)
def test_a_video_network_without_a_family_has_video_ldm_s(kind):
    for fields in (FIELDS, FIELDS | {"temporal": None}, FIELDS | {"temporal": {}}):
        net = table.module_of(kind, fields, jnp.float32)
        assert table.fields_of(net)["temporal"]["family"] == "video_ldm"


def test_an_image_network_s_file_says_nothing_of_what_it_has_not():
    """So that equal weights make equal files, whichever version wrote them."""
    fields = table.fields_of(table.module_of("unet", FIELDS, jnp.float32))
    assert not {"temporal", "more_conditions"} & fields.keys()


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("unet", "channels", ()),
        ("unet", "channels", (0, 0)),
        ("unet", "layers_per_level", 0),
        ("unet", "layers_per_level", -1),
        ("unet", "out_channels", 0),
        ("unet", "heads", (2, 0)),
        ("unet", "context_dim", -3),
        ("unet", "norm_groups", 0),
        ("unet", "norm_eps", float("nan")),
        ("unet", "num_classes", 0),
        ("unet", "added_time_ids", -1),
        ("unet", "dropout", 1.0),
        ("autoencoder", "mult", ()),
        ("autoencoder", "blocks", -1),
        ("autoencoder", "latent_scale", 0.0),
        ("autoencoder", "norm_groups", 0),
    ],
)
def test_a_field_that_no_network_has_is_named_before_it_is_made(kind, field, value):
    with pytest.raises(InputError, match=f": {field}=.* must be ") as caught:
        table.module_of(kind, {field: value}, jnp.float32)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("channels", 8),
        ("attention", (1, 0)),
        ("heads", {}),
        ("head_dim", 4.0),
        ("label_tokens", "binary"),
        ("dropout", "a"),
        ("remat", "yes"),
    ],
)
def test_a_field_of_another_type_is_named(field, value):
    """Asked of the rule alone: in tests a module's annotations are checked before it is made."""
    with pytest.raises(InputError, match=f"U-Net: {field}=.* must be "):
        check_fields("U-Net", SimpleNamespace(**{field: value}), {field: RULES[field]})
