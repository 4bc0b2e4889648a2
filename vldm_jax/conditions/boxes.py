"""Boxes of the objects that an image shows, as context tokens: a user places cars.

    w_i = (sin 2^k pi v, cos 2^k pi v)   for v of (x0, y0, x1, y1) of box i, k = 0 ... 7      (1)
    tokens = (s, MLP(w_1), ..., MLP(w_n)),   s one of two: boxes are known, or unknown        (2)

A frame's boxes are all that it shows: known and none is an empty road, unknown is any. The value is
what the data has under the same key, rows of zeros after the boxes: a row without area is no box,
and NaN is unknown, as a label is. What is no box is a token that nothing attends to, so neither its
numbers nor how many there are say anything; and attention knows no order. The token s is always
there, so that attention has one to look at. The bias of the MLP tells boxes from other tokens.

All tokens are zeros when fresh: keys and values of an image model from before are thinned by them,
not drowned. That is not quite the model from before, for their share of a softmax is not zero.

Boxes are of one image: a video U-Net does not take them. An image model makes the first frame of a
video, and temporal layers on another image model go on from it.

Source: Align your Latents, arXiv:2304.08818, Sec. 4.1.2, which does not tell how boxes enter; that
they are tokens is latent diffusion's layout-to-image model (arXiv:2112.10752, Sec. 4.3.1), the
features (1) are of arXiv:2003.08934, Eq. 4; the number of boxes and of waves is ours.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from vldm_jax.conditions.base import Condition, Contribution
from vldm_jax.conditions.box_requests import boxes_of, is_box
from vldm_jax.core.errors import InputError
from vldm_jax.nn.embeddings import EmbeddingMLP
from vldm_jax.nn.init import zeros
from vldm_jax.typing import Array, Bool, Conditioning, Float

WAVES = 8  # of each number: the finest turns once in 1/128 of the picture
SHOWN = 4  # boxes of a caption


@dataclasses.dataclass(frozen=True, kw_only=True)
class Boxes(Condition):
    """Boxes (b n 4), x0 y0 x1 y1 in [0, 1]; rows without area are none, NaN is unknown.

    Attributes:
        most: boxes that an image may be asked for; of data there may be more or fewer rows.
    """

    most: int = 32
    key: ClassVar[str] = "boxes"
    meaning: ClassVar[str] = "boxes x0 y0 x1 y1 in [0, 1], rows of zeros for none, NaN for unknown"
    gives_tokens: ClassVar[bool] = True
    of_image: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Look at the number of boxes.

        Raises:
            InputError: if it is none.
        """
        if type(self.most) is not int or self.most < 1:
            raise InputError(
                f"a condition of kind 'boxes': most={self.most!r} must be a whole number of at "
                "least 1"
            )

    def example(self) -> jax.ShapeDtypeStruct:
        """Return as many boxes as an image may have."""
        return jax.ShapeDtypeStruct((1, self.most, 4), jnp.float32)

    def null(self, value: Float[Array, "b n 4"], given: Mapping[str, Any]) -> Array:
        """Return NaN for every number: boxes are unknown."""
        del given
        return jnp.full_like(value, jnp.nan)

    def embed(self, cond: Conditioning, *, width: int, token_width: int | None) -> Contribution:
        """Return the tokens, from the module `condition_boxes`, and which of them there are.

        Raises:
            InputError: if the value has another shape.
        """
        del width
        value = cond[self.key]
        if value.ndim != 3 or value.shape[-1] != 4:
            raise InputError(f"U-Net: boxes must be b n 4 (x0 y0 x1 y1), got {value.shape}")
        tokens, there = BoxTokens(token_width, name="condition_boxes")(value)
        return Contribution(context=tokens, there=there)

    def rows(self, value: Any, where: str) -> Float[np.ndarray, "n most 4"]:
        """Return the boxes of each request in turn, NaN where they are unknown.

        Raises:
            InputError: naming a box that is none, or a request of too many.
        """
        requests = boxes_of(value, self.most, where)
        rows = np.full((len(requests), self.most, 4), np.nan, np.float32)
        for row, boxes in zip(rows, requests, strict=True):
            if boxes is not None:
                row[:] = 0.0
                row[: len(boxes)] = boxes
        return rows

    def describe(self, row: Float[np.ndarray, "n 4"], names: tuple[str, ...]) -> str:
        """Return "boxes 0.1,0.5,0.3,0.7; 0.6,0.5,0.7,0.6", "no boxes" or "boxes any"."""
        del names
        boxes = self.as_json(row)
        if boxes is None:
            return "boxes any"
        words = [",".join(f"{v:.3g}" for v in box) for box in boxes[:SHOWN]]
        if len(boxes) > SHOWN:
            return f"{len(boxes)} boxes {'; '.join(words)}; ..."
        return f"boxes {'; '.join(words)}" if words else "no boxes"

    def as_json(self, row: Float[np.ndarray, "n 4"]) -> list[list[float]] | None:
        """Return the boxes alone, or None where they are unknown."""
        if np.isnan(row).any():
            return None
        return [[round(float(v), 6) for v in box] for box in row[is_box(row)]]


class BoxTokens(nn.Module):
    """Turn n boxes into 1 + n tokens, equation (2).

    Attributes:
        width: of a token.
    """

    width: int

    @nn.compact
    def __call__(
        self, boxes: Float[Array, "b n 4"]
    ) -> tuple[Float[Array, "b m d"], Bool[Array, "b m"]]:
        """Return the tokens, m = 1 + n, and which of them there are.

        Args:
            boxes: as `Boxes` has them.
        """
        known, unknown = is_box(boxes), jnp.isnan(boxes).any((1, 2))
        # Zeros in the place of NaN: a number that nothing attends to still spoils a product.
        waves = fourier(jnp.where(known[..., None], boxes, 0.0))
        rows = rearrange(waves, "b n d -> (b n) d")
        tokens = EmbeddingMLP(self.width, self.width, zeros, name="box")(rows)
        state = nn.Embed(2, self.width, embedding_init=zeros, name="state")
        first = state(unknown.astype(jnp.int32))[:, None]
        tokens = rearrange(tokens, "(b n) d -> b n d", n=boxes.shape[1])
        always = jnp.ones((boxes.shape[0], 1), bool)
        return (
            jnp.concatenate([first, tokens], axis=1),
            jnp.concatenate([always, known], axis=1),
        )


def fourier(boxes: Float[Array, "b n 4"]) -> Float[Array, "b n d"]:
    """Return the features of equation (1), d = 8 `WAVES`."""
    waves = math.pi * 2.0 ** jnp.arange(WAVES)
    angles = rearrange(boxes[..., None] * waves[None, None, None], "b n v k -> b n (v k)")
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
