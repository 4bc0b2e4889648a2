"""The image U-Net: sizes, names, conditioning, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_unet import COND, CONTEXT, FIELDS, Z

from vldm_jax.core import paths
from vldm_jax.core.conditioning import Conditioning
from vldm_jax.core.errors import InputError
from vldm_jax.models.unet import UNet
from vldm_jax.models.unet_sizes import X4_UPSCALER

LATENTS = Z[:, 0]


def shapes(net, cond, z=LATENTS.shape):
    z = jax.ShapeDtypeStruct(z, jnp.float32)
    time = jax.ShapeDtypeStruct(z.shape[:1], jnp.float32)
    init = lambda *args: net.init(*args, train=False)  # noqa: E731
    flat = paths.flatten(jax.eval_shape(init, jax.random.key(0), z, time, cond)["params"])
    return {path: leaf.shape for path, leaf in flat.items()}


def test_the_upscaler_has_its_published_size_and_layout():
    cond = Conditioning(
        context=jnp.zeros((1, 77, 1024)),
        class_labels=jnp.zeros((1,), jnp.int32),
        concat=jnp.zeros((1, 16, 16, 3)),
    )
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


@pytest.mark.parametrize("size", [(8, 8), (5, 7), (3, 2)])
def test_any_size_of_image_comes_back_at_its_size(size):
    net = UNet(**{**FIELDS, "channels": (8, 8, 8), "attention": (False,) * 3}, out_channels=6)
    net = net.copy(context_dim=None)
    init = lambda *args: net.init_with_output(*args, train=False)  # noqa: E731
    z = jax.ShapeDtypeStruct((1, *size, 4), jnp.float32)
    time = jax.ShapeDtypeStruct((1,), jnp.float32)
    out, _ = jax.eval_shape(init, jax.random.key(0), z, time, Conditioning())
    assert out.shape == (1, *size, 6)


def test_labels_classes_and_concatenated_images_reach_the_prediction():
    net = UNet(**FIELDS, label_tokens=("binary", "count"), num_classes=10)
    cond = Conditioning(
        context=CONTEXT,
        labels=jnp.array([[1.0, 3.0], [jnp.nan, jnp.nan]]),
        class_labels=jnp.array([1, 2]),
        concat=jnp.ones((*LATENTS.shape[:-1], 3)),
    )
    time = jnp.array([5.0, 500.0])
    init = jax.jit(lambda key: net.init(key, LATENTS, time, cond, train=False)["params"])
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda v: v + 0.2 * jnp.asarray(rng.normal(size=v.shape), jnp.float32),
        init(jax.random.key(0)),
    )
    apply = jax.jit(lambda cond: net.apply({"params": params}, LATENTS, time, cond, train=False))
    base = apply(cond)
    changes = {
        "labels": jnp.array([[1.0, 4.0], [jnp.nan, jnp.nan]]),
        "class_labels": jnp.array([5, 2]),
        "concat": cond.concat.at[0, 0, 0].set(0.0),
        "context": CONTEXT.at[0].add(1.0),
    }
    for field, value in changes.items():
        out = apply(cond.replace(**{field: value}))
        assert float(jnp.abs(out[0] - base[0]).max()) > 1e-4, field
        np.testing.assert_array_equal(out[1], base[1], err_msg=field)


def test_the_last_convolution_is_in_float32_out_of_bfloat16():
    net = UNet(**FIELDS, dtype=jnp.bfloat16)
    init = lambda *args: net.init_with_output(*args, train=False)  # noqa: E731
    out, params = jax.eval_shape(init, jax.random.key(0), LATENTS, jnp.zeros((2,)), COND)
    assert out.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}


REFUSED = {
    "both kinds of heads": ({"head_dim": 4}, COND, "heads=2 and head_dim=4"),
    "no kind of heads": ({"heads": None}, COND, "heads=None and head_dim=None"),
    "head width": ({"heads": None, "head_dim": 3}, COND, "head_dim 3 does not divide the width 8"),
    "heads": ({"heads": 3}, COND, "3 attention heads do not divide the width 8"),
    "groups": ({"norm_groups": 3}, COND, "norm groups 3 do not divide the width 8"),
    "levels": ({"attention": (True,)}, COND, "must have one entry per level"),
    "no text": ({}, Conditioning(), "has context_dim, but the conditioning has no context"),
    "text": ({"context_dim": None}, COND, "has context, but the network has no context_dim"),
    "another text encoder": ({"context_dim": 6}, COND, "width 4, but context_dim is 6"),
    "labels": ({}, COND.replace(labels=jnp.zeros((2, 1))), "labels, but the network has no label_"),
    "no class": ({"num_classes": 5}, COND, "num_classes, but the conditioning has no class_labels"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_in_one_line(case):
    fields, cond, message = REFUSED[case]
    with pytest.raises(InputError, match=message) as caught:
        shapes(UNet(**{**FIELDS, **fields}), cond)
    assert "\n" not in str(caught.value)
