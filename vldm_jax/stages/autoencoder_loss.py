"""The autoencoder's loss: that of reconstructions, and a KL divergence.

With (mean, logvar) = E(x), z = mean + exp(logvar / 2) n, xh = D(z), `reconstruction_loss` has all
that a decoder learns by; its gradient reaches the encoder through z, and

    KL   = 1/2 sum(mean^2 + exp(logvar) - 1 - logvar) / b                                       (1)

is added with its weight, a sum over the values of an image as there.

Source: arXiv:2304.08818 Sec. 3.3, "as in LDM"; arXiv:2112.10752 App. G.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from vldm_jax.core.rng import stream
from vldm_jax.sampling.maker import to_pixels
from vldm_jax.stages.latents import sample_posterior
from vldm_jax.stages.reconstruction_loss import Metrics, ReconstructionLoss, both_players
from vldm_jax.typing import Array, Float, Int, Key, PyTree


@dataclass(frozen=True, kw_only=True)
class AutoencoderLoss(ReconstructionLoss):
    """Loss of an image autoencoder and its discriminator.

    Attributes:
        encode: (autoencoder params, x) -> (mean, logvar).
        kl_weight: of the KL divergence to a unit Gaussian.
    """

    encode: Callable[..., tuple[Array, Array]]
    kl_weight: float = 1e-6

    def __call__(
        self, params: PyTree, batch: PyTree, key: Key, step: int | Int[Array, ""]
    ) -> tuple[Float[Array, ""], Metrics]:
        """Return both players' losses of a batch {"image": uint8 (b h w 3)}, and their terms."""
        x = to_pixels(batch["image"])
        mean, logvar = self.encode(params["autoencoder"], x)
        z_raw = sample_posterior(mean, logvar, stream(key, "posterior"))
        matched = self.match(params, z_raw, x, step)
        kl = kl_divergence(mean, logvar)
        weighted = self.kl_weight * kl
        metrics = {**matched.metrics, "kl": kl, "latent_std": jnp.std(mean)}
        return both_players(matched.value + weighted, matched.surrogate + weighted, metrics)


def kl_divergence(
    mean: Float[Array, "b h w c"], logvar: Float[Array, "b h w c"]
) -> Float[Array, ""]:
    """Return equation (1): the KL divergence to a unit Gaussian, in nats an image."""
    return 0.5 * jnp.sum(jnp.square(mean) + jnp.exp(logvar) - 1 - logvar) / mean.shape[0]


def measure_latent_scale(
    encode: Callable[[Array], tuple[Array, Array]], batches: Any, key: Key
) -> float:
    """Return 1 / std of the latents of some batches, the factor that gives them unit variance.

    Args:
        encode: x (b h w 3) in [-1, 1] -> (mean, logvar).
        batches: iterable of uint8 images (b h w 3).
        key: for sampling the posterior.

    Raises:
        ValueError: if there is no batch.

    Source: latent diffusion's `scale_by_std`, there from one batch; arXiv:2112.10752 App. D.1.
    """
    count, total, squares = 0, 0.0, 0.0
    for index, image in enumerate(batches):
        mean, logvar = encode(to_pixels(jnp.asarray(image)))
        z_raw = sample_posterior(mean, logvar, jax.random.fold_in(key, index))
        count += z_raw.size
        total += float(jnp.sum(z_raw))
        squares += float(jnp.sum(jnp.square(z_raw)))
    if not count:
        raise ValueError("no batch to measure the latents on")
    return float((squares / count - (total / count) ** 2) ** -0.5)
