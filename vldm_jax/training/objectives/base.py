"""What every objective offers to the step, and the small pieces that they share.

An objective is a frozen dataclass of callables and numbers. It knows no optimiser, no device and no
other objective; it is given the *whole* parameter tree and does not know which part is trained.
"""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import struct

from vldm_jax.typing import Array, Bool, Float, Int, Key, PyTree, UInt8


@runtime_checkable
class Objective(Protocol):
    """What a step calls.

    Attributes:
        needs: the keys of a batch that `loss` reads; everything else stays on the host.
    """

    @property
    def needs(self) -> tuple[str, ...]:
        """Return the keys of the batch that `loss` reads."""
        ...

    def loss(
        self, params: PyTree, batch: dict[str, Any], key: Key, step: Int[Array, ""]
    ) -> tuple[Float[Array, ""], dict[str, Any]]:
        """Return (loss, metrics) of a batch.

        Args:
            params: the whole tree, e.g. {"network": ..., "autoencoder": ...}.
            batch: the arrays named by `needs`, every one leading with b.
            key: the random key of this step.
            step: number of updates done before this one.

        Returns:
            The scalar that is minimised, and metrics: float32 scalars or `Mean`s by name.
        """
        ...


@struct.dataclass
class Mean:
    """A metric whose weight differs from batch to batch: total / count, both added up over batches.

    Attributes:
        total: sum of the values.
        count: number of the values; may be 0.
    """

    total: Any
    count: Any


def to_pixels(frames: UInt8[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return 8-bit frames as float32 pixels in [-1, 1]."""
    return frames.astype(jnp.float32) / 127.5 - 1.0


def sample_posterior(
    mean: Float[Array, "*shape"], logvar: Float[Array, "*shape"], key: Key
) -> Float[Array, "*shape"]:
    """Return mean + exp(logvar / 2) n, n ~ N(0, 1), in float32: raw (unscaled) latents."""
    noise = jax.random.normal(key, mean.shape, jnp.float32)
    return mean.astype(jnp.float32) + jnp.exp(0.5 * logvar.astype(jnp.float32)) * noise


def latent_needs(frames: str, encode: Callable | None) -> tuple[str, ...]:
    """Return the batch keys that `encode_frames` reads."""
    return ("latent_mean", "latent_logvar") if encode is None else (frames,)


def encode_frames(
    encode: Callable | None, params: PyTree, batch: dict[str, Any], frames: str, key: Key
) -> Float[Array, "b *t h w c"]:
    """Return posterior samples of a batch's frames as raw latents; no gradient passes.

    Args:
        encode: (autoencoder's parameters, x (b h w 3)) -> (mean, logvar); None: read the batch.
        params: the whole tree.
        batch: with uint8 `frames` (b h w 3) or (b t h w 3), or "latent_mean" and "latent_logvar".
        frames: "image" or "video".
        key: key of the posterior sample.
    """
    if encode is None:
        mean, logvar = batch["latent_mean"], batch["latent_logvar"]
    else:
        x = to_pixels(batch[frames])
        leading = x.shape[:-3]
        mean, logvar = encode(params["autoencoder"], x.reshape(-1, *x.shape[-3:]))
        mean, logvar = (a.reshape(*leading, *a.shape[1:]) for a in (mean, logvar))
    return jax.lax.stop_gradient(sample_posterior(mean, logvar, key))


def drop_labels(labels: Float[Array, "b k"], drop: Bool[Array, " b"]) -> Float[Array, "b k"]:
    """Return the labels, all NaN (the null condition) in samples where `drop` is True."""
    return jnp.where(drop[:, None], jnp.nan, labels)


def drop_context(
    context: Float[Array, "b n d"], null_context: Float[Array, "n d"], drop: Bool[Array, " b"]
) -> Float[Array, "b n d"]:
    """Return the text tokens, those of the empty prompt in samples where `drop` is True."""
    return jnp.where(drop[:, None, None], null_context[None].astype(context.dtype), context)
