"""Boxes to maps and back: what a detector of points learns, and what is read off its maps.

With R = `STRIDE` and a box of centre p and size (w, h) in pixels, its cell is p~ = floor(p / R) and

    heat      Y_xy = exp(-(x - p~_x)^2 / 2 s_x^2 - (y - p~_y)^2 / 2 s_y^2)                    (1)
    offset    o = p / R - p~                                                                  (2)
    size      log(w / R), log(h / R)                                                          (3)

Of boxes that overlap, the larger Y counts, and in one cell the larger box. Back: the cells whose
heat is the largest of the nine around them, the highest `most` of them.

Source: CenterNet, arXiv:1904.07850, Sec. 3 (Y, offset, size) and "From points to bounding boxes".
Deviation: s follows width and height each by itself, as in TTFNet (arXiv:1909.00700, Sec. 3.2), so
that a wide truck is no circle; and size is a logarithm.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from vldm_jax.typing import Array, Bool, Float

STRIDE = 2  # pixels of a cell
SPREAD = 0.09  # standard deviation of a peak over the box's size: 0.54 / 6, as in TTFNet
NARROWEST = 0.5  # standard deviation of a peak, in cells: far cars have neighbours to learn from
LARGEST_LOG = 6.0  # of a size: 400 cells; keeps a wild network's boxes finite


class Maps(NamedTuple):
    """What a detector says of frames, or should.

    Attributes:
        heat: (b h w) logits; of a target, Y of equation (1) in [0, 1].
        size: (b h w 2) logarithms of width and height in cells.
        offset: (b h w 2) of the centre in its cell, x first; cells.
        attributes: (b k) logits; of a target, 0 or 1, NaN where unknown.
    """

    heat: Float[Array, "b h w"]
    size: Float[Array, "b h w 2"]
    offset: Float[Array, "b h w 2"]
    attributes: Float[Array, "b k"]


class Detections(NamedTuple):
    """Boxes of frames, the surest first.

    Attributes:
        boxes: x0 y0 x1 y1 in [0, 1].
        scores: in [0, 1].
    """

    boxes: Float[Array, "b n 4"]
    scores: Float[Array, "b n"]


def encode(
    boxes: Float[Array, "b n 4"],
    is_box: Bool[Array, "b n"],
    size: tuple[int, int],
    attributes: Float[Array, "b k"],
) -> Maps:
    """Return the maps that a detector should make of frames with these boxes: (1) to (3).

    Args:
        boxes: x0 y0 x1 y1 in [0, 1].
        is_box: which rows are boxes.
        size: height and width of the frames in pixels.
        attributes: of the frames, NaN where unknown.
    """
    rows, columns = (-(-side // STRIDE) for side in size)
    corners = boxes * jnp.array(size[::-1] * 2, jnp.float32)[None, None] / STRIDE
    centre, wide = (corners[..., :2] + corners[..., 2:]) / 2, corners[..., 2:] - corners[..., :2]
    cell = jnp.clip(jnp.floor(centre), 0, jnp.array([columns - 1, rows - 1])[None, None])
    at = jnp.stack(jnp.meshgrid(jnp.arange(columns), jnp.arange(rows)), axis=-1)  # (h w 2): x, y
    away = at[None, None] - cell[:, :, None, None]
    spread = jnp.maximum(SPREAD * wide, NARROWEST)[:, :, None, None]
    peaks = jnp.exp(-0.5 * jnp.square(away / spread).sum(-1)) * is_box[..., None, None]
    # In a cell with several centres the largest box is the one whose size and offset are asked for.
    here = (away == 0).all(-1) & is_box[..., None, None]
    area = jnp.maximum(wide[..., 0] * wide[..., 1], 1e-6)[..., None, None]
    owner = jnp.argmax(here * area, axis=1)
    pick = jax.vmap(lambda values, index: values[index])
    return Maps(
        heat=peaks.max(1),
        size=pick(jnp.log(jnp.maximum(wide, 1e-3)), owner),
        offset=pick(centre - cell, owner),
        attributes=attributes,
    )


def decode(maps: Maps, size: tuple[int, int], *, most: int = 48) -> Detections:
    """Return the boxes of peaks of the heat map, whose logits it has.

    Args:
        maps: of a detector.
        size: height and width of the frames in pixels.
        most: boxes of a frame; those that are none have a low score.
    """
    heat = maps.heat
    around = lax.reduce_window(heat, -jnp.inf, lax.max, (1, 3, 3), (1, 1, 1), "SAME")
    peaks = jnp.where(heat == around, heat, -jnp.inf).reshape(len(heat), -1)
    logits, index = lax.top_k(peaks, min(most, peaks.shape[1]))
    columns = heat.shape[2]
    cell = jnp.stack([index % columns, index // columns], axis=-1)

    def at(values: Float[Array, "b h w 2"]) -> Float[Array, "b n 2"]:
        return jnp.take_along_axis(values.reshape(len(values), -1, 2), index[..., None], axis=1)

    wide = jnp.exp(jnp.minimum(at(maps.size), LARGEST_LOG))
    centre = cell + at(maps.offset)
    corners = jnp.concatenate([centre - wide / 2, centre + wide / 2], axis=-1) * STRIDE
    boxes = corners / jnp.array(size[::-1] * 2, jnp.float32)[None, None]
    return Detections(boxes=jnp.clip(boxes, 0.0, 1.0), scores=jax.nn.sigmoid(logits))
