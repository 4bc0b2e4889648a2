"""The image U-Net: sizes, names, conditioning, and what it refuses."""

import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy_init import numpy_init
from tiny_unet import COND, CONTEXT, FIELDS, Z

from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.models.table import abstract_params, fields_of, module_of
from vldm_jax.models.unet import UNet
from vldm_jax.models.unet_sizes import SIZES, X4_UPSCALER
from vldm_jax.nn.norm import GroupNorm

LATENTS = Z[:, 0]
IDS = jnp.zeros((2, 2))


def shapes(net, cond, z=LATENTS.shape):
    z = jax.ShapeDtypeStruct(z, jnp.float32)
    time = jax.ShapeDtypeStruct(z.shape[:1], jnp.float32)
    init = lambda *args: net.init(*args, train=False)  # noqa: E731
    flat = paths.flatten(jax.eval_shape(init, jax.random.key(0), z, time, cond)["params"])
    return {path: leaf.shape for path, leaf in flat.items()}


def test_the_upscaler_has_its_published_size_and_layout():
    cond = {
        "context": jnp.zeros((1, 77, 1024)),
        "class_labels": jnp.zeros((1,), jnp.int32),
        "concat": jnp.zeros((1, 16, 16, 3)),
    }
    net = shapes(UNet(**X4_UPSCALER), cond, (1, 16, 16, 4))
    count = sum(int(np.prod(shape)) for shape in net.values())
    assert count == 473_398_020  # the training log of the original says 473.40M
    assert net["conv_in/kernel"] == (3, 3, 7, 256)
    assert net["class_embedding/embedding"] == (1000, 1024)
    block = "attentions_0/transformer_blocks_0/attn1/to_k/kernel"
    assert not any(path.startswith("down_blocks_0/attentions") for path in net)
    assert net[f"down_blocks_1/{block}"] == (1024, 512)
    assert net[f"down_blocks_3/{block}"] == (1024, 1024)
    assert net[f"up_blocks_2/{block}"] == (1024, 512)
    assert net[f"mid_block/{block}"] == (1024, 1024)


@pytest.mark.parametrize("name", SIZES)
def test_a_weights_file_says_all_of_a_network(name):
    """From what it says: the module, what the module is called with, and so its parameters."""
    net = module_of("unet", SIZES[name], jnp.float32)
    again = module_of("unet", json.loads(json.dumps(fields_of(net))), net.dtype)
    assert again == net
    abstract_params(again, *again.smallest_inputs(4))


@pytest.mark.parametrize("size", [(8, 8), (5, 7), (3, 2)])
def test_any_size_of_image_comes_back_at_its_size(size):
    net = UNet(**{**FIELDS, "channels": (8, 8, 8), "attention": (False,) * 3}, out_channels=6)
    net = net.copy(context_dim=None)
    init = lambda *args: net.init_with_output(*args, train=False)  # noqa: E731
    z = jax.ShapeDtypeStruct((1, *size, 4), jnp.float32)
    time = jax.ShapeDtypeStruct((1,), jnp.float32)
    out, _ = jax.eval_shape(init, jax.random.key(0), z, time, {})
    assert out.shape == (1, *size, 6)


def test_labels_classes_numbers_and_concatenated_images_reach_the_prediction():
    net = UNet(**FIELDS, label_tokens=("binary", "count"), num_classes=10, added_time_ids=2)
    cond = {
        "context": CONTEXT,
        "labels": jnp.array([[1.0, 3.0], [jnp.nan, jnp.nan]]),
        "class_labels": jnp.array([1, 2]),
        "added_time_ids": jnp.array([[6.0, 127.0], [24.0, 0.0]]),
        "concat": jnp.ones((*LATENTS.shape[:-1], 3)),
    }
    time = jnp.array([5.0, 500.0])
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda v: v + 0.2 * jnp.asarray(rng.normal(size=v.shape), jnp.float32),
        numpy_init(net, LATENTS, time, cond, train=False),
    )
    apply = jax.jit(lambda cond: net.apply({"params": params}, LATENTS, time, cond, train=False))
    base = apply(cond)
    changes = {
        "labels": jnp.array([[1.0, 4.0], [jnp.nan, jnp.nan]]),
        "class_labels": jnp.array([5, 2]),
        "added_time_ids": cond["added_time_ids"].at[0, 1].set(30.0),
        "concat": cond["concat"].at[0, 0, 0].set(0.0),
        "context": CONTEXT.at[0].add(1.0),
    }
    for key, value in changes.items():
        out = apply(cond | {key: value})
        assert float(jnp.abs(out[0] - base[0]).max()) > 1e-4, key
        np.testing.assert_array_equal(out[1], base[1], err_msg=key)


def test_the_last_convolution_is_in_float32_out_of_bfloat16():
    net = UNet(**FIELDS, dtype=jnp.bfloat16)
    init = lambda *args: net.init_with_output(*args, train=False)  # noqa: E731
    out, params = jax.eval_shape(init, jax.random.key(0), LATENTS, jnp.zeros((2,)), COND)
    assert out.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}


def test_every_stage_has_its_own_epsilon_and_the_last_norm_none():
    """Norms of residual blocks only: with a huge epsilon they return their bias, 0."""
    eps = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
    stages = ("down_blocks_0", "down_blocks_1", "mid_block", "up_blocks_0", "up_blocks_1")
    found = {}

    def record(call, args, kwargs, context):
        if isinstance(context.module, GroupNorm):
            found["/".join(context.module.path)] = context.module.eps
        return call(*args, **kwargs)

    with nn.intercept_methods(record):
        shapes(UNet(**FIELDS, norm_eps=eps), COND)
    for stage, value in zip(stages, eps, strict=True):
        inner = {e for path, e in found.items() if path.startswith(f"{stage}/resnets")}
        assert inner == {value}, stage
    assert {e for path, e in found.items() if "attentions" in path} == {1e-6}
    assert found["conv_norm_out"] == 1e-5


def test_heads_of_each_level():
    """Heads leave no trace in the shapes, but must divide their level's width."""
    wide = {**FIELDS, "channels": (4, 6), "attention": (True, True), "norm_groups": 2}
    shapes(UNet(**{**wide, "heads": (4, 6)}), COND)
    for heads in (4, 6, (6, 4)):
        with pytest.raises(InputError, match="attention heads do not divide the width"):
            shapes(UNet(**{**wide, "heads": heads}), COND)


REFUSED = {
    "both kinds of heads": ({"head_dim": 4}, COND, "heads=2 and head_dim=4"),
    "no kind of heads": ({"heads": None}, COND, "heads=None and head_dim=None"),
    "head width": ({"heads": None, "head_dim": 3}, COND, "head_dim 3 does not divide the width 8"),
    "heads": ({"heads": 3}, COND, "3 attention heads do not divide the width 8"),
    "groups": ({"norm_groups": 3}, COND, "norm groups 3 do not divide the width 8"),
    "levels": ({"attention": (True,)}, COND, "must have one entry per level"),
    "levels of heads": ({"heads": (2, 2, 2)}, COND, "heads .* must have one entry per level: 2"),
    "stages": ({"norm_eps": (1e-5,) * 3}, COND, "one entry per stage .down, middle, up.: 5"),
    "numbers": ({}, COND | {"added_time_ids": IDS}, "added_time_ids, but the network has no"),
    "no numbers": ({"added_time_ids": 3}, COND, "but the conditioning has no added_time_ids"),
    "fewer numbers": (
        {"added_time_ids": 3},
        COND | {"added_time_ids": IDS},
        "has 2 added_time_ids a sample, but the network takes 3",
    ),
    "no text": ({}, {}, "has context_dim, but the conditioning has no context"),
    "text": ({"context_dim": None}, COND, "has context, but the network has no context_dim"),
    "another text encoder": ({"context_dim": 6}, COND, "width 4, but context_dim is 6"),
    "labels": ({}, COND | {"labels": jnp.zeros((2, 1))}, "labels, but the network has no label_"),
    "no class": ({"num_classes": 5}, COND, "num_classes, but the conditioning has no class_labels"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_in_one_line(case):
    fields, cond, message = REFUSED[case]
    with pytest.raises(InputError, match=message) as caught:
        shapes(UNet(**{**FIELDS, **fields}), cond)
    assert "\n" not in str(caught.value)
