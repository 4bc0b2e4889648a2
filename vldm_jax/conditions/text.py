"""Text: the tokens of a text encoder, as context of cross-attention.

Dropped text is the empty prompt, whose tokens only the text encoder knows: they are given.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from vldm_jax.conditions.base import Condition, Contribution
from vldm_jax.core.assets import resolve
from vldm_jax.core.errors import InputError
from vldm_jax.typing import Array, Conditioning, Float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Text(Condition):
    """Text tokens (b n d) of spatial cross-attention and, unless they get others, of temporal.

    Attributes:
        width: of a token.
        required: False in a network that has other tokens to attend to.
    """

    width: int
    required: bool = True
    key: ClassVar[str] = "context"
    null_file: ClassVar[str | None] = "null_context"
    field: ClassVar[str] = "context_dim"
    meaning: ClassVar[str] = "text tokens"
    gives_tokens: ClassVar[bool] = True

    def example(self) -> jax.ShapeDtypeStruct:
        """Return one token."""
        return jax.ShapeDtypeStruct((1, 1, self.width), jnp.float32)

    def null(self, value: Float[Array, "b n d"], given: Mapping[str, Any]) -> Array:
        """Return the tokens of the empty prompt, `given[key]` (1 n d), for every sample.

        Raises:
            InputError: if they are not given, or are not as many as the text's.
        """
        if self.key not in given:
            raise InputError(
                f"{self.key}: text is dropped, or guided, towards the empty prompt, whose tokens "
                "are not given"
            )
        empty = jnp.asarray(given[self.key])
        if empty.shape[-2:] != value.shape[-2:]:
            raise InputError(
                f"{self.key}: the empty prompt has tokens (n d) of {empty.shape[-2:]}, the text of "
                f"{value.shape[-2:]}; make both with the same text encoder"
            )
        return jnp.broadcast_to(empty.astype(value.dtype), value.shape)

    def rows(self, value: Any, where: str) -> Float[np.ndarray, "n t d"]:
        """Return the tokens in a safetensors file with one array "context" (n t d).

        Raises:
            InputError: if the file is not given, missing, damaged or has no such array.
        """
        if not isinstance(value, str):
            raise InputError(f"{where} is not set: give a safetensors file with 'context' (b n d)")
        try:
            arrays = load_file(resolve(value))
        except (SafetensorError, OSError) as error:
            raise InputError(f"{where}: {value} is no whole safetensors file ({error})") from error
        if "context" not in arrays or arrays["context"].ndim != 3:
            raise InputError(f"{where}: {value} has no array 'context' (b n d)")
        tokens = arrays["context"].astype(np.float32)
        if tokens.shape[-1] != self.width:
            raise InputError(
                f"{where}: the tokens of {value} have width {tokens.shape[-1]}, the network takes "
                f"{self.width}; use the text encoder of this network"
            )
        return tokens

    def embed(self, cond: Conditioning, *, width: int, token_width: int | None) -> Contribution:
        """Return the tokens, those of `TemporalText` for temporal layers if there are any."""
        self._check(cond)
        return Contribution(context=cond[Text.key], context_temporal=cond.get(TemporalText.key))

    def _check(self, cond):
        if (width := cond[self.key].shape[-1]) != self.width:
            raise InputError(
                f"U-Net: {self.key} tokens have width {width}, but context_dim is {self.width}; "
                "use the text encoder of this network"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TemporalText(Text):
    """Text tokens (b m d) of temporal cross-attention alone.

    A DreamBooth backbone brings a text encoder of its own, temporal layers keep theirs (App. H.3).
    """

    required: bool = False
    key: ClassVar[str] = "context_temporal"
    meaning: ClassVar[str] = "text tokens of temporal cross-attention"
    null_file: ClassVar[str | None] = "null_context_temporal"

    def embed(self, cond: Conditioning, *, width: int, token_width: int | None) -> Contribution:
        """Return the tokens, unless `Text` takes them along."""
        self._check(cond)
        if Text.key in cond:
            return Contribution()
        return Contribution(context_temporal=cond[self.key])
