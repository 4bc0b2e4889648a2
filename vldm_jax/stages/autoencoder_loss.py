"""The autoencoder's loss: L1 + LPIPS + KL + hinge patch-GAN with the adaptive weight.

With (mean, logvar) = E(x), z = mean + exp(logvar / 2) n, xh = D(z), s a learned scalar, and sums
over the values of an image divided by the batch, as in latent diffusion:

    rec  = |x - xh| + w_lpips LPIPS(x, xh)                 per value                            (1)
    nll  = sum(rec / exp(s) + s) / b                                                            (2)
    KL   = 1/2 sum(mean^2 + exp(logvar) - 1 - logvar) / b                                       (3)
    L_G  = -mean d(xh)                                                                          (4)
    L_D  = 1/2 (mean relu(1 - d(x)) + mean relu(1 + d(xh)))                                     (5)
    w    = clip(|grad_K nll| / (|grad_K L_G| + 1e-4), 0, 1e4),  K = the decoder's last kernel   (6)

    autoencoder, s:  nll + w_kl KL + w w_disc L_G          discriminator:  L_D                  (7)

One gradient for both players. `stop_gradient` decides who sees what, so that the sum of (7) is a
scalar whose gradient with respect to {autoencoder, logvar, discriminator} is each player's own.
Both step at once from the same point, where the original alternates.

Each network differentiated once. nll and L_G reach the decoder only through xh. Their cotangents
c = d nll / d xh and g = d L_G / d xh are taken once, at a constant xh; pulled back through the last
convolution alone they give the two norms of (6); and sum(stop_gradient(c + w w_disc g) * xh) has,
by the chain rule, the generator's gradient. Differentiating (6) and (7) as they stand would run the
perceptual network and the discriminator backwards twice.

The sums of (2) and (3) grow with the resolution: choose gradient clipping accordingly (Adam itself
does not see the scale). The networks come as callables; parameters are {"autoencoder", "logvar",
"perceptual" (frozen), "discriminator" (absent if disc_weight = 0)}.

Source: arXiv:2304.08818 Sec. 3.3, "as in LDM"; arXiv:2112.10752 App. G and the repository's
`LPIPSWithDiscriminator`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient

from vldm_jax.core.paths import flatten
from vldm_jax.core.rng import stream
from vldm_jax.stages.latents import sample_posterior, to_pixels
from vldm_jax.typing import Array, Float, Int, Key, PyTree

Metrics = dict[str, Array]


@dataclass(frozen=True, kw_only=True)
class AutoencoderLoss:
    """Loss of an image autoencoder and its discriminator.

    Attributes:
        encode: (autoencoder params, x) -> (mean, logvar).
        decode_features: (autoencoder params, z_raw) -> activations before the last convolution.
        project: (autoencoder params, activations) -> x, the last convolution alone.
        perceptual: (perceptual params, x, y) -> (b) distance; unused if perceptual_weight is 0.
        discriminate: (discriminator params, x) -> logits; unused if disc_weight is 0.
        last_kernel: path of the kernel of `project`, for the adaptive weight.
        perceptual_weight: of LPIPS against L1.
        kl_weight: of the KL divergence to a unit Gaussian.
        disc_weight: of the adversarial term; 0 leaves the discriminator out of the program.
        disc_start: first step of the adversarial game; before it, it is skipped at run time.
    """

    encode: Callable[..., tuple[Array, Array]]
    decode_features: Callable[..., Array]
    project: Callable[..., Array]
    perceptual: Callable[..., Array] | None = None
    discriminate: Callable[..., Array] | None = None
    last_kernel: str = "decoder/conv_out/kernel"
    perceptual_weight: float = 1.0
    kl_weight: float = 1e-6
    disc_weight: float = 0.5
    disc_start: int = 50_001

    def __post_init__(self) -> None:
        """Check that every weighted term has its network."""
        if self.perceptual_weight and self.perceptual is None:
            raise ValueError(f"{self.perceptual_weight=} needs a perceptual network")
        if self.disc_weight and self.discriminate is None:
            raise ValueError(f"{self.disc_weight=} needs a discriminator")

    def __call__(
        self, params: PyTree, batch: PyTree, key: Key, step: int | Int[Array, ""]
    ) -> tuple[Float[Array, ""], Metrics]:
        """Return the sum of both players' losses and float32 metrics.

        Args:
            params: see the module.
            batch: {"image": uint8 (b h w 3)}.
            key: key of this step.
            step: number of updates done, for disc_start.

        Returns:
            A scalar whose gradient is each player's own, and the terms of (1)-(7).
        """
        x = to_pixels(batch["image"])
        mean, logvar = self.encode(params["autoencoder"], x)
        z_raw = sample_posterior(mean, logvar, stream(key, "posterior"))
        features = self.decode_features(params["autoencoder"], z_raw)
        xh = self.project(params["autoencoder"], features)
        kl = kl_divergence(mean, logvar)

        (nll, terms), (cotangent, scale_gradient) = jax.value_and_grad(
            self._nll, argnums=(1, 2), has_aux=True
        )(*stop_gradient((params, xh, params["logvar"])), x)
        metrics = {**terms, "kl": kl, "latent_std": jnp.std(mean)}
        value, through_discriminator = nll + self.kl_weight * kl, 0.0
        if self.disc_weight:
            still = stop_gradient((xh, features))
            game = self._game(params, x, *still, cotangent, step)
            cotangent += game["cotangent"]
            through_discriminator = game["metrics"]["loss_d"]
            value += game["value"] + through_discriminator
            metrics |= game["metrics"]
        surrogate = (
            jnp.sum(stop_gradient(cotangent) * xh)
            + stop_gradient(scale_gradient) * params["logvar"]
            + self.kl_weight * kl
            + through_discriminator
        )
        loss = stop_gradient(value) + surrogate - stop_gradient(surrogate)
        metrics = {"loss": value, **metrics}
        return loss, {name: stop_gradient(m).astype(jnp.float32) for name, m in metrics.items()}

    def _nll(self, params: PyTree, xh: Array, s: Array, x: Array) -> tuple[Array, Metrics]:
        b, values = x.shape[0], x.size // x.shape[0]
        l1 = jnp.sum(jnp.abs(x - xh), axis=(1, 2, 3))
        lpips = jnp.zeros((b,))
        if self.perceptual_weight:
            lpips = self.perceptual(params["perceptual"], xh, x)
        rec = l1 + self.perceptual_weight * lpips * values
        nll = jnp.mean(rec / jnp.exp(s) + s * values)
        return nll, {"l1": jnp.mean(l1) / values, "lpips": jnp.mean(lpips), "logvar": s}

    def _game(
        self, params: PyTree, x: Array, xh: Array, features: Array, cotangent: Array, step: Any
    ) -> PyTree:
        """Return the weighted cotangent of (4), its value and metrics; zeros before the start."""

        def play(discriminator: PyTree) -> PyTree:
            frozen = stop_gradient(discriminator)
            loss_g, g = jax.value_and_grad(lambda y: -jnp.mean(self.discriminate(frozen, y)))(xh)
            weight = self.disc_weight * stop_gradient(
                w_adapt := self._adaptive_weight(params["autoencoder"], features, cotangent, g)
            )
            real, fake = self.discriminate(discriminator, x), self.discriminate(discriminator, xh)
            metrics = {
                "w_adapt": w_adapt,
                "loss_g": loss_g,
                "loss_d": hinge(real, fake),
                "logits_real": jnp.mean(real),
                "logits_fake": jnp.mean(fake),
            }
            return {"cotangent": weight * g, "value": weight * loss_g, "metrics": metrics}

        def wait(discriminator: PyTree) -> PyTree:
            shapes = jax.eval_shape(play, discriminator)
            return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

        return jax.lax.cond(step >= self.disc_start, play, wait, params["discriminator"])

    def _adaptive_weight(
        self, autoencoder: PyTree, features: Array, nll: Array, adversarial: Array
    ) -> Array:
        """Equation (6) from the two cotangents at the image."""
        _, pull = jax.vjp(lambda p: self.project(p, features), stop_gradient(autoencoder))
        norms = [
            jnp.linalg.norm(flatten(pull(cotangent)[0])[self.last_kernel].reshape(-1))
            for cotangent in (nll, adversarial)
        ]
        return jnp.clip(norms[0] / (norms[1] + 1e-4), 0.0, 1e4)


def kl_divergence(
    mean: Float[Array, "b h w c"], logvar: Float[Array, "b h w c"]
) -> Float[Array, ""]:
    """Return equation (3): the KL divergence to a unit Gaussian, in nats an image."""
    return 0.5 * jnp.sum(jnp.square(mean) + jnp.exp(logvar) - 1 - logvar) / mean.shape[0]


def hinge(real: Float[Array, "b h w 1"], fake: Float[Array, "b h w 1"]) -> Float[Array, ""]:
    """Return equation (5) from logits of real images and of reconstructions."""
    return 0.5 * (jnp.mean(jax.nn.relu(1 - real)) + jnp.mean(jax.nn.relu(1 + fake)))


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
