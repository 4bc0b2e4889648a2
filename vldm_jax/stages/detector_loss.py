"""The detector's loss, and how frames are spoilt so that it also reads blurred ones.

With Y the target heat map (`models.detector_maps`), Y^ the sigmoid of the network's, N the number
of objects in the batch and S, O the maps of logarithms of sizes and of offsets,

    L_k   = -1/N sum  (1 - Y^)^2 log Y^                 where Y = 1
                      (1 - Y)^4 Y^^2 log(1 - Y^)        elsewhere                             (1)
    L_off = 1/N sum_objects |O^ - O|                                                          (2)
    L_size = 1/N sum_objects |S^ - S|                                                         (3)
    L = L_k + w_size L_size + w_off L_off + w_attributes CE(attributes)                       (4)

Source: CenterNet, arXiv:1904.07850, equations (1) to (4), where w_size = 0.1 for sizes in pixels.
Deviation: sizes are logarithms, and the cross-entropy of a frame's attributes is added.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from vldm_jax.core.rng import stream
from vldm_jax.models.detector_maps import Maps
from vldm_jax.typing import Array, Float, Key

FOCAL, NEAR = 2, 4  # alpha and beta of equation (1)
BLUR, NOISE, COARSE = 1.6, 0.08, 0.5  # largest: pixels, of [-1, 1], step of the coefficients
BLOCK = 8


def detection_loss(
    maps: Maps, target: Maps, *, size_weight: float, offset_weight: float, attribute_weight: float
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Return equation (4), and its terms by name.

    Args:
        maps: of the network, heat and attributes as logits.
        target: of the true boxes (`detector_maps.encode`).
        size_weight: of (3).
        offset_weight: of (2).
        attribute_weight: of the attributes, those that are known.
    """
    centre = target.heat == 1
    count = jnp.maximum(centre.sum(), 1)
    heat = focal(maps.heat, target.heat).sum() / count
    size = (jnp.abs(maps.size - target.size).sum(-1) * centre).sum() / count
    offset = (jnp.abs(maps.offset - target.offset).sum(-1) * centre).sum() / count
    attributes = cross_entropy(maps.attributes, target.attributes)
    loss = heat + size_weight * size + offset_weight * offset + attribute_weight * attributes
    terms = {"heat": heat, "size": size, "offset": offset, "attributes": attributes}
    return loss, {"loss": loss, **terms}


def focal(logits: Float[Array, "b h w"], target: Float[Array, "b h w"]) -> Float[Array, "b h w"]:
    """Return the terms of equation (1), of each cell."""
    found, here = jax.nn.sigmoid(logits), target == 1
    positive = -jax.nn.log_sigmoid(logits) * (1 - found) ** FOCAL
    negative = -jax.nn.log_sigmoid(-logits) * found**FOCAL * (1 - target) ** NEAR
    return jnp.where(here, positive, negative)


def cross_entropy(logits: Float[Array, "b k"], target: Float[Array, "b k"]) -> Float[Array, ""]:
    """Return the mean cross-entropy of what is known, in nats; NaN is unknown."""
    known = ~jnp.isnan(target)
    value = jnp.where(known, target, 0.0)
    nats = -value * jax.nn.log_sigmoid(logits) - (1 - value) * jax.nn.log_sigmoid(-logits)
    return jnp.where(known, nats, 0.0).sum() / jnp.maximum(known.sum(), 1)


def spoil(x: Float[Array, "b h w c"], key: Key) -> Float[Array, "b h w c"]:
    """Return frames in [-1, 1], each blurred, noisy and coarse by amounts drawn for it.

    Blurred by a Gaussian, with white noise, and with the coefficients of each 8x8 block's cosine
    transform rounded to a step that grows with the frequency, as JPEG does.

    Args:
        x: (b h w c) in [-1, 1].
        key: of the amounts and the noise.
    """
    amounts = jax.random.uniform(stream(key, "amounts"), (3, len(x), 1, 1, 1))
    x = blur(x, BLUR * amounts[0])
    x = x + NOISE * amounts[1] * jax.random.normal(stream(key, "noise"), x.shape)
    return jnp.clip(coarsen(x, COARSE * amounts[2] ** 2), -1.0, 1.0)


def blur(x: Float[Array, "b h w c"], width: Float[Array, "b 1 1 1"]) -> Float[Array, "b h w c"]:
    """Return frames blurred by Gaussians of a standard deviation each, in pixels; 0 is none."""
    reach = 4
    steps = jnp.arange(-reach, reach + 1, dtype=jnp.float32)[None]
    kernel = jnp.exp(-0.5 * jnp.square(steps / jnp.maximum(width[:, 0, 0], 1e-2)))
    kernel = kernel / kernel.sum(1, keepdims=True)
    for axis in (1, 2):
        pad = [(reach, reach) if i == axis else (0, 0) for i in range(4)]
        wide = jnp.pad(x, pad, mode="edge")
        length = x.shape[axis]
        x = sum(
            kernel[:, i, None, None, None] * lax.slice_in_dim(wide, i, i + length, axis=axis)
            for i in range(2 * reach + 1)
        )
    return x


def coarsen(x: Float[Array, "b h w c"], step: Float[Array, "b 1 1 1"]) -> Float[Array, "b h w c"]:
    """Return frames whose blocks' cosine coefficients are rounded to a step each; 0 is none.

    What does not fill a block at the right and at the bottom stays as it is.
    """
    b, h, w, c = x.shape
    rows, columns = h // BLOCK, w // BLOCK
    inner = x[:, : rows * BLOCK, : columns * BLOCK]
    blocks = inner.reshape(b, rows, BLOCK, columns, BLOCK, c)
    basis = jnp.asarray(_cosines(BLOCK))
    coefficients = jnp.einsum("brymxc,uy,vx->brumvc", blocks, basis, basis)
    index = np.arange(BLOCK, dtype=np.float32)
    growth = jnp.asarray(1 + index[:, None] + index[None]).reshape(1, 1, BLOCK, 1, BLOCK, 1) / BLOCK
    steps = jnp.maximum(step[..., None, None] * growth, 1e-4)
    rounded = jnp.round(coefficients / steps) * steps
    back = jnp.einsum("brumvc,uy,vx->brymxc", rounded, basis, basis).reshape(inner.shape)
    return x.at[:, : rows * BLOCK, : columns * BLOCK].set(back)


def _cosines(n: int) -> Float[np.ndarray, "n n"]:
    """Return the orthonormal cosine transform (DCT-II) as a matrix."""
    k = np.arange(n)
    basis = np.sqrt(2 / n) * np.cos(np.pi * (2 * k[None] + 1) * k[:, None] / (2 * n))
    basis[0] /= np.sqrt(2)
    return basis.astype(np.float32)
