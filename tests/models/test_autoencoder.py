"""The KL autoencoder: published sizes, names, geometry, and what its fields must satisfy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.models.autoencoder import LOGVAR_RANGE, SIZES, Autoencoder
from vldm_jax.models.autoencoder_blocks import Level

TINY = Autoencoder(base=8, mult=(1, 2), blocks=1, norm_groups=4)
APPLY = jax.jit(TINY.apply, static_argnames="method")


@pytest.fixture(scope="module")
def params():
    """Random values of the right shapes: compiling the initialisers would take most of the time."""
    rng = np.random.default_rng(0)
    x = jax.ShapeDtypeStruct((1, 8, 16, 3), jnp.float32)
    shapes = jax.eval_shape(TINY.init, jax.random.key(0), x)["params"]
    return jax.tree.map(lambda leaf: jnp.float32(0.2 * rng.normal(size=leaf.shape)), shapes)


def image(seed, *shape):
    return jax.random.uniform(jax.random.key(seed), (*shape, 3), minval=-1.0)


def call(params, method, *args):
    return APPLY({"params": params}, *args, method=method)


@pytest.mark.parametrize(
    ("size", "count", "factor"),
    [("sd_f8", 83_653_863, 8), ("upscaler_f4", 55_325_927, 4), ("svd_f8", 97_742_847, 8)],
)
def test_published_sizes(size, count, factor):
    """Counts of the public models; svd_f8 from diffusers' class on torch's meta device."""
    model = Autoencoder(**SIZES[size])
    x = jax.ShapeDtypeStruct((2, 64, 128, 3), jnp.float32)
    batch = (1, 2) if model.temporal_decoder else (2,)
    seen = jax.ShapeDtypeStruct((*batch, *x.shape[1:]), x.dtype)
    variables = jax.eval_shape(model.init, jax.random.key(0), seen)
    assert paths.count(jax.tree.leaves(variables)) == count
    mean, logvar = jax.eval_shape(lambda v, x: model.apply(v, x, method="encode"), variables, x)
    assert mean.shape == logvar.shape == (2, 64 // factor, 128 // factor, 4)
    assert model.factor == factor


def test_names_are_those_of_diffusers():
    variables = jax.eval_shape(
        Autoencoder(**SIZES["sd_f8"]).init,
        jax.random.key(0),
        jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32),
    )
    flat = paths.flatten(variables["params"])
    expected = {
        "encoder/conv_in/kernel": (3, 3, 3, 128),
        "encoder/down_blocks_0/downsamplers_0/conv/kernel": (3, 3, 128, 128),
        "encoder/down_blocks_1/resnets_0/conv_shortcut/kernel": (1, 1, 128, 256),
        "encoder/mid_block/attentions_0/group_norm/scale": (512,),
        "encoder/mid_block/attentions_0/to_q/kernel": (512, 512),
        "encoder/mid_block/attentions_0/to_out_0/bias": (512,),
        "encoder/conv_norm_out/scale": (512,),
        "encoder/conv_out/kernel": (3, 3, 512, 8),
        "quant_conv/kernel": (1, 1, 8, 8),
        "post_quant_conv/kernel": (1, 1, 4, 4),
        "decoder/conv_in/kernel": (3, 3, 4, 512),
        "decoder/up_blocks_0/upsamplers_0/conv/bias": (512,),
        "decoder/up_blocks_3/resnets_2/conv2/kernel": (3, 3, 128, 128),
        "decoder/conv_out/kernel": (3, 3, 128, 3),
    }
    assert {name: flat[name].shape for name in expected} == expected
    # The last level neither halves nor doubles.
    assert not [name for name in flat if "down_blocks_3/down" in name or "up_blocks_3/up" in name]


def test_decode_is_its_two_halves(params):
    z_raw = jax.random.normal(jax.random.key(1), (2, 4, 8, 4))
    features = call(params, "decode_features", z_raw)
    assert features.shape == (2, 8, 16, 8)
    x = call(params, "decode", z_raw)
    assert x.shape == (2, 8, 16, 3)
    np.testing.assert_array_equal(x, call(params, "project", features))


def test_images_of_a_batch_do_not_see_each_other(params):
    x = image(2, 3, 8, 16)
    together = call(params, "__call__", x)
    alone = jnp.concatenate([call(params, "__call__", x[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_downsampling_pads_at_the_bottom_and_right_only():
    """All-ones weights on an all-ones image count the pixels seen; 1 is the bias."""
    down = Level(width=1, blocks=0, groups=1, resample="down")
    x = jnp.ones((1, 4, 4, 1))
    variables = jax.tree.map(jnp.ones_like, down.init(jax.random.key(0), x))
    y = down.apply(variables, x)[0, :, :, 0] - 1
    np.testing.assert_array_equal(y, [[9, 6], [6, 4]])


def test_logvar_is_clipped(params):
    flat = paths.flatten(params)
    flat["quant_conv/bias"] = jnp.full((8,), 1e4)
    _, logvar = call(paths.unflatten(flat), "encode", image(3, 1, 8, 16))
    assert float(logvar.max()) == LOGVAR_RANGE[1]
    flat["quant_conv/bias"] = jnp.full((8,), -1e4)
    _, logvar = call(paths.unflatten(flat), "encode", image(3, 1, 8, 16))
    assert float(logvar.min()) == LOGVAR_RANGE[0]


def test_bfloat16_computes_close_to_float32_and_returns_float32(params):
    x = image(4, 2, 8, 16)
    half = Autoencoder(base=8, mult=(1, 2), blocks=1, norm_groups=4, dtype=jnp.bfloat16)
    y32, y16 = call(params, "__call__", x), jax.jit(half.apply)({"params": params}, x)
    assert y16.dtype == jnp.float32
    assert float(jnp.abs(y32 - y16).max()) < 0.05 * float(jnp.abs(y32).max())
    assert float(jnp.abs(y32 - y16).max()) > 0


def test_bad_sizes_are_named(params):
    with pytest.raises(InputError, match=r"9x16 must be a multiple of 2"):
        call(params, "encode", image(5, 1, 9, 16))
    with pytest.raises(InputError, match=r"norm_groups=5 must divide the channels \(8, 16\)"):
        Autoencoder(base=8, mult=(1, 2), norm_groups=5).init(jax.random.key(0), image(5, 1, 8, 8))
