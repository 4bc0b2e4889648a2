"""The CLIP text transformer: published sizes, names, parity with transformers, causality."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.models.text import ACTIVATIONS, SIZES, TextEncoder

LENGTH = 12
FIELDS = {"width": 32, "layers": 2, "heads": 4, "mlp_width": 48}
TINY = TextEncoder(**FIELDS, vocab_size=60, max_tokens=LENGTH)
TOKENS = jnp.asarray(np.random.default_rng(0).integers(0, 60, (3, LENGTH)), jnp.int32)


def shapes_of(model, length=LENGTH):
    tokens = jax.ShapeDtypeStruct((1, length), jnp.int32)
    return jax.eval_shape(model.init, jax.random.key(0), tokens)["params"]


@functools.cache
def random_params():
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda x: jnp.float32(0.3 * rng.normal(size=x.shape)), shapes_of(TINY))


def encode(tokens, model=TINY):
    return jax.jit(model.apply)({"params": random_params()}, tokens)


# Counted with transformers' CLIPTextModel on torch's meta device.
@pytest.mark.parametrize(
    ("size", "count", "width"), [("clip_l", 123_060_480, 768), ("openclip_h", 340_387_840, 1024)]
)
def test_published_sizes(size, count, width):
    model = TextEncoder(**SIZES[size])
    params = shapes_of(model, 77)
    assert paths.count(jax.tree.leaves(params)) == count
    tokens = jax.ShapeDtypeStruct((2, 77), jnp.int32)
    assert jax.eval_shape(model.apply, {"params": params}, tokens).shape == (2, 77, width)


def test_names_are_those_of_transformers():
    flat = paths.flatten(shapes_of(TextEncoder(**SIZES["openclip_h"])))
    expected = {
        "embeddings/token_embedding/embedding": (49408, 1024),
        "embeddings/position_embedding/embedding": (77, 1024),
        "encoder/layers_0/layer_norm1/scale": (1024,),
        "encoder/layers_0/self_attn/q_proj/kernel": (1024, 1024),
        "encoder/layers_22/self_attn/out_proj/bias": (1024,),
        "encoder/layers_22/layer_norm2/bias": (1024,),
        "encoder/layers_22/mlp/fc1/kernel": (1024, 4096),
        "encoder/layers_22/mlp/fc2/kernel": (4096, 1024),
        "final_layer_norm/scale": (1024,),
    }
    assert {name: flat[name].shape for name in expected} == expected
    # Tables 2, a layer's norms, projections and MLP 16, last norm 2.
    assert len(flat) == 2 + 23 * 16 + 2


def converted(state):
    """Return a state_dict of transformers as our tree."""
    flat = {}
    for name, value in state.items():
        path = re.sub(r"layers\.(\d+)", r"layers_\1", name.removeprefix("text_model."))
        module, leaf = path.replace(".", "/").rsplit("/", 1)
        value = value.numpy()
        if "embedding" in module:
            leaf = "embedding"
        elif leaf == "weight":
            leaf, value = ("kernel", value.T) if value.ndim == 2 else ("scale", value)
        flat[f"{module}/{leaf}"] = jnp.asarray(value)
    return paths.unflatten(flat)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_equals_the_model_of_transformers(activation):
    torch = pytest.importorskip("torch", reason="parity needs torch")
    transformers = pytest.importorskip("transformers", reason="parity needs transformers")
    config = transformers.CLIPTextConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        vocab_size=60, max_position_embeddings=LENGTH, hidden_act=activation,
        bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    theirs = transformers.CLIPTextModel(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in theirs.parameters():
            value.add_(0.3 * torch.randn(value.shape, generator=generator))
        expected = theirs(torch.tensor(np.asarray(TOKENS), dtype=torch.long)).last_hidden_state
    ours = TINY.clone(activation=activation)
    params = converted(theirs.state_dict())
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, shapes_of(ours))
    out = jax.jit(ours.apply)({"params": params}, TOKENS)
    expected = expected.numpy()
    assert np.abs(out - expected).max() <= 1e-4 * expected.std()


def test_a_token_sees_itself_and_earlier_tokens_only():
    """Change token j: outputs before j stay as they were, bit for bit; from j on all change."""
    before = encode(TOKENS)
    for j in (0, 5, LENGTH - 1):
        after = encode(TOKENS.at[:, j].set((TOKENS[:, j] + 1) % 60))
        np.testing.assert_array_equal(after[:, :j], before[:, :j])
        assert float(jnp.abs(after - before)[:, j:].max(-1).min()) > 1e-4


def test_a_shorter_text_is_the_beginning_of_a_longer_one():
    np.testing.assert_allclose(encode(TOKENS[:, :5]), encode(TOKENS)[:, :5], atol=1e-5)


def test_texts_of_a_batch_do_not_see_each_other():
    together = encode(TOKENS)
    alone = jnp.concatenate([encode(TOKENS[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_bfloat16_computes_close_to_float32_and_returns_float32():
    y32, y16 = encode(TOKENS), encode(TOKENS, TINY.clone(dtype=jnp.bfloat16))
    assert y16.dtype == jnp.float32
    error = float(jnp.abs(y32 - y16).max() / y32.std())
    assert 0 < error < 0.1


def test_tokens_out_of_range_are_nan_or_count_from_the_end():
    y = encode(TOKENS.at[0, 3].set(60).at[1, 3].set(-1))
    assert bool(jnp.isnan(y[0, 3:]).all()) and bool(jnp.isfinite(y[1]).all())
    np.testing.assert_array_equal(y[1], encode(TOKENS.at[1, 3].set(59))[1])


@pytest.mark.parametrize(
    ("change", "length", "message"),
    [
        ({}, LENGTH + 1, r"13 tokens, but there are positions for 12; cut the text"),
        ({"activation": "relu"}, LENGTH, r"'relu' is unknown; use one of quick_gelu, gelu"),
        ({"heads": 5}, LENGTH, r"text encoder: 5 attention heads do not divide the width 32"),
    ],
)
def test_what_does_not_fit_is_named(change, length, message):
    with pytest.raises(InputError, match=message) as error:
        shapes_of(TINY.clone(**change), length)
    assert "\n" not in str(error.value)
