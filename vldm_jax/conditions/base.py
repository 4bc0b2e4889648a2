"""What a denoising network is told beside the noisy latents and the time: one input, one condition.

A batch, and a conditioning `{key: array}`, hold a condition's value under its key. The condition
says the rest of it: the value's shape, what stands for "unknown" (null), how training drops it for
classifier-free guidance, and what the network makes of it (`Contribution`).

Modules of a new condition are named `condition_NAME`, so that training may start from a file
without them. What it adds to temporal layers alone, it embeds in `temporal_condition_NAME`: such
modules are trained with those layers, and no image model has them.
"""

import abc
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.core.shapes import expand_like
from vldm_jax.typing import Array, Bool, Conditioning, Float, Key, Shaped


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contribution:
    """What a condition adds to a network; None adds nothing.

    Attributes:
        emb: (b d) added to the embedding of the time, for all layers.
        emb_temporal: (b d) added to it for temporal layers only.
        context: (b n d) tokens appended to the contexts of spatial and temporal cross-attention.
        there: (b n) which of these there are: nothing attends to the others. None for all. Spatial
            cross-attention alone knows of it.
        context_temporal: (b m d) tokens for the temporal context in place of `context`.
        maps: (b t h w c) of the size of z, seen by temporal convolutions.
    """

    emb: Float[Array, "b d"] | None = None
    emb_temporal: Float[Array, "b d"] | None = None
    context: Float[Array, "b n d2"] | None = None
    there: Bool[Array, "b n"] | None = None
    context_temporal: Float[Array, "b m d3"] | None = None
    maps: Float[Array, "b t h w c"] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Condition(abc.ABC):
    """One conditioning input; its fields are what a weights file must say of it (JSON values).

    Attributes:
        key: its key in a batch and in a conditioning.
        field: of the network that it comes from, for messages.
        meaning: what its value is in a few words, for who calls a program.
        null_file: key of `config.model` that names the file of its null value; None if the
            condition makes that itself.
        required: whether a network with it cannot do without a value.
        gives_tokens: whether it contributes context tokens, so that a network with cross-attention
            can do without text.
        of_clip: whether a stage makes the value of the clip itself; a batch has no key of it, and
            samples are not asked for it in a config.
        of_image: whether its value is of one image, so that a video U-Net does not take it.
        dropped_alone: leading axes of the value whose entries are dropped independently: 1 for each
            sample, 2 for each entry of each sample.
    """

    key: ClassVar[str]
    field: ClassVar[str] = "more_conditions"
    meaning: ClassVar[str] = ""
    null_file: ClassVar[str | None] = None
    required: ClassVar[bool] = True
    gives_tokens: ClassVar[bool] = False
    of_clip: ClassVar[bool] = False
    of_image: ClassVar[bool] = False
    dropped_alone: ClassVar[int] = 1

    @abc.abstractmethod
    def example(self) -> jax.ShapeDtypeStruct:
        """Return shape and type of a value with b = 1."""

    def example_for(self, latent: tuple[int, ...]) -> jax.ShapeDtypeStruct:
        """Return shape and type of a value beside latents of shape (1 [t] h w c)."""
        del latent
        return self.example()

    @abc.abstractmethod
    def embed(self, cond: Conditioning, *, width: int, token_width: int | None) -> Contribution:
        """Return what the network is to add; called in its compact call, where it makes modules.

        Args:
            cond: holds a value under `key`.
            width: of embeddings of the time.
            token_width: of context tokens; None in a network without cross-attention.

        Raises:
            InputError: if the value does not fit.
        """

    def null(self, value: Shaped[Array, " b *rest"], given: Mapping[str, Any]) -> Array:
        """Return what stands for "unknown", shape and type of `value`; the value if nothing does.

        Args:
            value: of the samples.
            given: by key, what a null value is made of where the condition does not know it: the
                tokens of the empty prompt (1 n d) for text.

        Raises:
            InputError: if what it needs is not given or does not fit.
        """
        del given
        return value

    def drop(
        self, value: Shaped[Array, " b *rest"], key: Key, p: float | int, given: Mapping[str, Any]
    ) -> Array:
        """Return the value, null where dropped: each entry of its own with probability p.

        Args:
            value: of the samples.
            key: random key.
            p: probability; a condition that knows no null is never dropped.
            given: as in `null`.
        """
        dropped = jax.random.bernoulli(key, p, value.shape[: self.dropped_alone])
        return jnp.where(expand_like(dropped, value), self.null(value, given), value)

    def rows(self, value: Any, where: str) -> Shaped[np.ndarray, "n ..."]:
        """Return what a config asks samples for, a row each: by default a tuple of values.

        Args:
            value: as the config has it; () asks for nothing in particular, the null value.
            where: the config's key, for messages.

        Raises:
            InputError: if a row has another shape than the condition's value.
        """
        example = self.example()
        if value == ():
            one = jnp.zeros(example.shape, example.dtype)
            return np.asarray(self.null(one, {}))
        try:
            rows = np.asarray(value, example.dtype)
        except (TypeError, ValueError):
            rows = np.zeros(())
        if rows.ndim == 0 or rows.shape[1:] != example.shape[1:]:
            raise InputError(
                f"{where}={value!r} must be a tuple of rows, each of shape {example.shape[1:]}"
            )
        return rows

    def describe(self, row: Shaped[np.ndarray, "..."], names: tuple[str, ...]) -> str:
        """Return what a sample was asked for in a few words, "" if it cannot be said so."""
        del row, names
        return ""

    def as_json(self, row: Shaped[np.ndarray, "..."]) -> Any:
        """Return what a sample was asked for as JSON values: its numbers, NaN as null."""
        return [None if np.isnan(v) else float(v) for v in np.ravel(row)]


def combine(emb: Float[Array, "b d"], parts: Iterable[Contribution]) -> Contribution:
    """Return the sum of embeddings and the tokens in a row, in the order of `parts`.

    Args:
        emb: embedding of the time.
        parts: of all conditions.

    Returns:
        `emb` and `emb_temporal`, both contexts unless nothing gave tokens, which tokens there are
        unless it is all, and all maps, their channels in a row.
    """
    parts = tuple(parts)
    for part in parts:
        emb = emb if part.emb is None else emb + part.emb
    emb_temporal = emb
    for part in parts:
        if part.emb_temporal is not None:
            emb_temporal = emb_temporal + part.emb_temporal
    return Contribution(
        emb=emb,
        emb_temporal=emb_temporal,
        context=_in_a_row(part.context for part in parts),
        there=_there(parts),
        context_temporal=_in_a_row(
            part.context if part.context_temporal is None else part.context_temporal
            for part in parts
        ),
        maps=_in_a_row((part.maps for part in parts), axis=-1),
    )


def _there(parts: tuple[Contribution, ...]) -> Array | None:
    """Return which tokens of the whole context there are; None for all."""
    if all(part.there is None for part in parts):
        return None
    return _in_a_row(
        jnp.ones(part.context.shape[:2], bool) if part.there is None else part.there
        for part in parts
        if part.context is not None
    )


def _in_a_row(arrays: Iterable[Array | None], axis: int = 1) -> Array | None:
    """Append tokens, or channels, in the type of the first."""
    rows = [row for row in arrays if row is not None]
    if not rows:
        return None
    return jnp.concatenate([row.astype(rows[0].dtype) for row in rows], axis=axis)
