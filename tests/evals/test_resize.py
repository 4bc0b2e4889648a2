"""Filters against the libraries that figures are usually computed with."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from vldm_jax.core.errors import InputError
from vldm_jax.evals.resize import FILTERS, resize

SIZES = [((64, 48), (224, 224)), ((65, 97), (31, 224)), ((240, 426), (224, 224))]
BOUND = 5e-5  # of values in [-1, 1]; measured 2.6e-5, as jax's sampling positions are float32


def frames(h, w):
    return np.random.default_rng(0).uniform(-1, 1, (2, h, w, 3)).astype(np.float32)


def pil(x, size, filter):
    """Each channel as an image of floats: nothing is rounded to bytes."""

    def channel(plane):
        return np.asarray(Image.fromarray(plane).resize(size[::-1], filter))

    return np.stack([np.stack([channel(f[..., c]) for c in range(3)], -1) for f in x])


@pytest.mark.parametrize(("old", "new"), SIZES)
@pytest.mark.parametrize(("name", "antialias"), [("bilinear", False), ("bilinear_antialias", True)])
def test_bilinear_is_pytorchs(old, new, name, antialias):
    torch = pytest.importorskip("torch", reason="compares with torch")
    x = frames(*old)
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(x).permute(0, 3, 1, 2),
        size=new,
        mode="bilinear",
        align_corners=False,
        antialias=antialias,
    )
    ours = resize(jnp.asarray(x), new, name)
    np.testing.assert_allclose(ours, theirs.permute(0, 2, 3, 1), atol=BOUND)


@pytest.mark.parametrize(("old", "new"), SIZES)
@pytest.mark.parametrize(
    ("name", "filter"),
    [("bicubic", Image.Resampling.BICUBIC), ("bilinear_antialias", Image.Resampling.BILINEAR)],
)
def test_antialiased_filters_are_pils(old, new, name, filter):
    x = frames(*old)
    ours = resize(jnp.asarray(x), new, name)
    np.testing.assert_allclose(ours, pil(x, new, filter), atol=BOUND)


@pytest.mark.parametrize("name", FILTERS)
def test_brightness_and_type(name):
    ours = resize(jnp.full((1, 30, 40, 3), 0.25, jnp.bfloat16), (17, 55), name)
    assert ours.dtype == jnp.float32
    np.testing.assert_allclose(ours, 0.25, atol=1e-6)


def test_unknown_filters_are_named():
    with pytest.raises(InputError, match=r"'lanczos' is unknown: use one of \['bicubic', 'bilin"):
        resize(jnp.zeros((1, 4, 4, 3)), (2, 2), "lanczos")
