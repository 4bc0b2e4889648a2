"""The patch discriminator: published layers, patch size, samples that do not mix."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.models.discriminator import PatchDiscriminator
from vldm_jax.nn.conv import Conv


def test_layers_of_pix2pix():
    x = jax.ShapeDtypeStruct((1, 256, 256, 3), jnp.float32)
    model = PatchDiscriminator()
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    flat = paths.flatten(variables["params"])
    kernels = [flat[f"conv_{i}/kernel"].shape for i in range(5)]
    assert kernels == [
        (4, 4, 3, 64), (4, 4, 64, 128), (4, 4, 128, 256), (4, 4, 256, 512), (4, 4, 512, 1)
    ]  # fmt: skip
    # 2,765,633 is the count with BatchNorm's scale and bias, which GroupNorm's match.
    assert paths.count(flat.values()) == 2_765_633
    assert jax.eval_shape(model.apply, variables, x).shape == (1, 30, 30, 1)


def without_norms(call, args, kwargs, context):
    """Let images through the norms untouched, for `nn.intercept_methods`."""
    return args[0] if isinstance(context.module, nn.GroupNorm) else call(*args, **kwargs)


def test_a_logit_sees_a_patch_of_70_pixels():
    """Read off the module's gradient, without its norms, whose statistics are global."""
    # 4x4 kernels: strides 2, 2, 2, 1, 1 see 1 + 3 (1 + 2 + 4 + 8 + 8) = 70; in another order the
    # same strides see less: 2, 2, 1, 2, 1 only 58, and 1, 1, 2, 2, 2 only 34.
    model = PatchDiscriminator(base=4, norm_groups=2)
    x = jax.random.normal(jax.random.key(0), (1, 96, 96, 3))
    variables = jax.jit(model.init)(jax.random.key(1), x)
    with nn.intercept_methods(without_norms):
        gradient = jax.jit(jax.grad(lambda x: model.apply(variables, x)[0, 5, 5, 0]))(x)
    for axes in ((0, 1, 3), (0, 2, 3)):
        seen = np.flatnonzero(np.abs(gradient).sum(axes))
        assert seen.max() - seen.min() + 1 == 70


def test_three_layers_halve_the_image_and_two_take_a_pixel():
    sizes = []

    def note(call, args, kwargs, context):
        out = call(*args, **kwargs)
        if isinstance(context.module, Conv) and context.method_name == "__call__":
            sizes.append(out.shape[1:3])
        return out

    x = jax.ShapeDtypeStruct((1, 256, 128, 3), jnp.float32)
    with nn.intercept_methods(note):
        jax.eval_shape(PatchDiscriminator().init, jax.random.key(0), x)
    assert sizes == [(128, 64), (64, 32), (32, 16), (31, 15), (30, 14)]


def test_samples_do_not_see_each_other():
    model = PatchDiscriminator(base=8, norm_groups=4)
    x = jax.random.normal(jax.random.key(0), (3, 32, 32, 3))
    variables = jax.jit(model.init)(jax.random.key(1), x)
    alone = jax.jit(model.apply)(variables, x[1:2])
    together = jax.jit(model.apply)(variables, x)
    np.testing.assert_allclose(together[1:2], alone, atol=1e-6)


def test_weights_start_with_deviation_0_02():
    variables = jax.jit(PatchDiscriminator().init)(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    kernel = variables["params"]["conv_3"]["kernel"]
    assert float(jnp.std(kernel)) == pytest.approx(0.02, rel=0.01)


def test_groups_must_divide():
    with pytest.raises(InputError, match="norm_groups=32 must divide base=16"):
        PatchDiscriminator(base=16).init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
