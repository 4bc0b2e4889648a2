"""Bilinear sampling of images at any place: backward warping, and resizing without smoothing.

Coordinates are pixel centres: (0, 0) is the middle of the first pixel, and what lies outside takes
the nearest pixel of the border.
"""

import jax
import jax.numpy as jnp

from vldm_jax.typing import Array, Float


def warp(image: Float[Array, "b h w c"], flow: Float[Array, "b h w 2"]) -> Float[Array, "b h w c"]:
    """Return the image that shows at p what `image` shows at p + flow(p).

    Args:
        image: (b h w c) anything, of flows too.
        flow: (b h w 2) displacements in pixels, to the right and down.

    Source: spatial transformer networks, arXiv:1506.02025, Sec. 3.3.
    """
    h, w = image.shape[1:3]
    x = jnp.clip(flow[..., 0] + jnp.arange(w, dtype=flow.dtype)[None, None, :], 0, w - 1)
    y = jnp.clip(flow[..., 1] + jnp.arange(h, dtype=flow.dtype)[None, :, None], 0, h - 1)
    left, top = jnp.floor(x).astype(jnp.int32), jnp.floor(y).astype(jnp.int32)
    right, bottom = jnp.minimum(left + 1, w - 1), jnp.minimum(top + 1, h - 1)
    across, down = (x - left)[..., None], (y - top)[..., None]
    take = jax.vmap(lambda one, rows, columns: one[rows, columns])
    above = (1 - across) * take(image, top, left) + across * take(image, top, right)
    below = (1 - across) * take(image, bottom, left) + across * take(image, bottom, right)
    return (1 - down) * above + down * below


def inside(flow: Float[Array, "b h w 2"]) -> Float[Array, "b h w"]:
    """Return 1.0 where p + flow(p) lies in the image, 0.0 elsewhere."""
    h, w = flow.shape[1:3]
    x = flow[..., 0] + jnp.arange(w, dtype=flow.dtype)[None, None, :]
    y = flow[..., 1] + jnp.arange(h, dtype=flow.dtype)[None, :, None]
    return ((x >= 0) & (x <= w - 1) & (y >= 0) & (y <= h - 1)).astype(flow.dtype)


def resize(image: Float[Array, "b h w c"], factor: float) -> Float[Array, "b h2 w2 c"]:
    """Return the image at `factor` times its size, by two pixels a side at any factor."""
    b, h, w, c = image.shape
    shape = (b, int(h * factor), int(w * factor), c)
    return jax.image.resize(image, shape, "linear", antialias=False)
