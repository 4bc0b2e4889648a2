"""A family of temporal layers is one file and one row: here one from outside goes the whole way."""

import dataclasses
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from einops import rearrange

from vldm_jax.core.errors import InputError
from vldm_jax.interop import export, insert_temporal, load, save, temporal_layers
from vldm_jax.models import table
from vldm_jax.models.network import CLASSES

FIELDS = {"channels": (8, 8), "attention": (False, False), "layers_per_level": 1, "heads": 1}


class Shift(nn.Module):
    """Adds a learned part of the frame before."""

    @nn.compact
    def __call__(self, x, *, frames, image_only=None):
        video = rearrange(x, "(b t) h w c -> b t h w c", t=frames)
        share = self.param("share", nn.initializers.zeros, (video.shape[-1],))
        before = jnp.roll(video, 1, axis=1).at[:, 0].set(0.0)
        video = video + share.reshape(1, 1, 1, 1, -1) * before
        return rearrange(video, "b t h w c -> (b t) h w c")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShiftSpec:
    """Fits whatever has its widths."""

    middle: bool = True
    made_for: ClassVar[tuple[str, ...]] = ("channels",)

    def residual(self, name, groups, eps, dropout, dtype):
        return None

    def transformer(self, name, heads, cross_attention, dtype):
        return None

    def after_layer(self, name, groups, dtype, middle):
        return Shift(name=name) if self.middle or not middle else None


@pytest.fixture(autouse=True)
def row(monkeypatch):
    monkeypatch.setitem(table.FAMILIES, "shift", ShiftSpec)


def image_network(**changes):
    module = table.module_of("unet", {**FIELDS, "norm_groups": 4, **changes}, jnp.float32)
    params = table.init_params(module, jax.random.key(0), *table.smallest_inputs(module, 4))
    params["conv_out"]["kernel"] = jnp.ones_like(params["conv_out"]["kernel"])  # no zeros
    fields = table.fields_of(module)
    return CLASSES["unet"](kind="unet", module=module, params=params, fields=fields)


def test_its_layers_are_put_in_saved_loaded_and_moved(tmp_path):
    unet = image_network()
    video = insert_temporal(unet, ShiftSpec())
    z = np.random.default_rng(0).standard_normal((2, 3, 4, 4, 4)).astype(np.float32)
    frames = np.stack([unet(z[:, i], 5.0) for i in range(3)], axis=1)
    np.testing.assert_allclose(video(z, 5.0), frames, atol=1e-5)
    save(unet, tmp_path / "unet.safetensors")
    layers = temporal_layers(video, tmp_path / "unet.safetensors")
    shares = jax.tree.map(lambda leaf: leaf + 0.5, layers.params)
    save(dataclasses.replace(layers, params=shares), tmp_path / "temporal.safetensors")
    again = load(tmp_path / "temporal.safetensors")
    assert again.fields["temporal"] == {"family": "shift", "middle": True}
    moved = again.onto(load(tmp_path / "unet.safetensors"))
    out = np.asarray(moved(z, 5.0))
    np.testing.assert_allclose(out[:, 0], frames[:, 0], atol=1e-5)  # nothing comes before it
    assert np.abs(out - frames)[:, 1:].max() > 0.1
    with pytest.raises(InputError, match=r"channels = .*8, 8.* has .*8, 16"):
        again.onto(image_network(channels=(8, 16)))


def test_what_no_public_class_has_is_refused_by_name(tmp_path):
    video = insert_temporal(image_network(), ShiftSpec())
    with pytest.raises(InputError, match="family 'shift' have no class in diffusers: .*--to"):
        export(video, tmp_path / "out")
    assert not (tmp_path / "out").exists()
