"""Scalar labels as context tokens, so that they enter a network where text does.

A label that is dropped (classifier-free guidance) or unknown is NaN and has a learned token of its
own. Two kinds:

    "binary"  0 or 1: a table of three tokens, the last one null
    "count"   clipped to [0, 64], sinusoid, MLP; a learned null token
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vldm_jax.conditions.base import Condition, Contribution
from vldm_jax.core.errors import InputError
from vldm_jax.nn.embeddings import EmbeddingMLP, sinusoid
from vldm_jax.typing import Array, Conditioning, Float

MAX_COUNT = 64
KINDS = ("binary", "count")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Labels(Condition):
    """Scalar labels (b k), NaN where unknown; each is dropped on its own.

    Attributes:
        kinds: "binary" or "count", one per label.
    """

    kinds: tuple[str, ...]
    key: ClassVar[str] = "labels"
    field: ClassVar[str] = "label_tokens"
    meaning: ClassVar[str] = "scalar labels, NaN for unknown"
    gives_tokens: ClassVar[bool] = True
    dropped_alone: ClassVar[int] = 2

    def example(self) -> jax.ShapeDtypeStruct:
        """Return one value per label."""
        return jax.ShapeDtypeStruct((1, len(self.kinds)), jnp.float32)

    def null(self, value: Float[Array, "b k"], given: Mapping[str, Any]) -> Array:
        """Return NaN for every label."""
        del given
        return jnp.full_like(value, jnp.nan)

    def rows(self, value: Any, where: str) -> Float[np.ndarray, "n k"]:
        """Return a row of values a label for each tuple; () is one row of unknown labels.

        Raises:
            InputError: naming a row that has not one value for each label, or one out of range.
        """
        for row in value if isinstance(value, tuple) else (value,):
            numbers = isinstance(row, tuple) and all(type(v) in (int, float) for v in row)
            if not numbers or len(row) != len(self.kinds):
                raise InputError(
                    f"{where}: {row!r} must be a tuple of {len(self.kinds)} values, one for each "
                    f"label ({', '.join(self.kinds)}); () asks for any"
                )
            for kind, number in zip(self.kinds, row, strict=True):
                known = number in (0, 1) if kind == "binary" else 0 <= number <= MAX_COUNT
                if not known and not np.isnan(number):
                    which = "0 or 1" if kind == "binary" else f"from 0 to {MAX_COUNT}"
                    raise InputError(f"{where}: {number:g} of {row!r} must be {which}, a {kind}")
        return super().rows(value, where)

    def describe(self, row: Float[np.ndarray, " k"], names: tuple[str, ...]) -> str:
        """Return "night 1, cars 4", by the names of the labels; unknown ones are "any"."""
        names = names or self.kinds
        values = ("any" if np.isnan(value) else f"{value:g}" for value in row)
        return ", ".join(f"{name} {value}" for name, value in zip(names, values, strict=True))

    def embed(self, cond: Conditioning, *, width: int, token_width: int | None) -> Contribution:
        """Return one token per label, from the module `label_tokens`."""
        del width
        make = LabelTokens(self.kinds, token_width, name="label_tokens")
        return Contribution(context=make(cond[self.key]))


class LabelTokens(nn.Module):
    """Turn k labels into k tokens.

    Attributes:
        kinds: "binary" or "count", one per label.
        width: of a token.
    """

    kinds: tuple[str, ...]
    width: int

    @nn.compact
    def __call__(self, labels: Float[Array, "b k"]) -> Float[Array, "b k d"]:
        """Return one token per label; NaN gives the label's null token.

        Raises:
            InputError: if a kind is unknown or the number of labels is not that of the kinds.
        """
        if labels.shape[1] != len(self.kinds):
            raise InputError(
                f"labels: expected {len(self.kinds)} per sample ({', '.join(self.kinds)}), "
                f"got {labels.shape[1]}; give one column per entry of label_tokens"
            )
        makers = {"binary": self._binary, "count": self._count}
        tokens = []
        for i, kind in enumerate(self.kinds):
            if kind not in makers:
                raise InputError(f"label_tokens[{i}]: unknown kind '{kind}'; use one of {KINDS}")
            tokens.append(makers[kind](labels[:, i], f"{kind}_{i}"))
        return jnp.stack(tokens, axis=1)

    def _binary(self, label, name):
        index = jnp.where(jnp.isnan(label), 2, jnp.clip(jnp.round(label), 0, 1)).astype(jnp.int32)
        init = nn.initializers.normal(1.0)
        return nn.Embed(3, self.width, embedding_init=init, name=name)(index)

    def _count(self, label, name):
        null = self.param(f"{name}_null", nn.initializers.normal(1.0), (self.width,))
        unknown = jnp.isnan(label)
        count = jnp.clip(jnp.where(unknown, 0.0, label), 0, MAX_COUNT)
        token = EmbeddingMLP(self.width, self.width, name=name)(sinusoid(count, self.width))
        return jnp.where(unknown[:, None], null[None, :], token)
