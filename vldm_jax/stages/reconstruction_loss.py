"""What autoencoders and decoders learn by: L1 + LPIPS + hinge patch-GAN with the adaptive weight.

With a reconstruction xh of x, s a learned scalar, and sums over the values of a frame divided by
the number of frames, as in latent diffusion:

    rec  = |x - xh| + w_lpips LPIPS(x, xh)                 per value                            (1)
    nll  = sum(rec / exp(s) + s) / n                                                            (2)
    L_G  = -mean d(xh)                                                                          (3)
    L_D  = 1/2 (mean relu(1 - d(x)) + mean relu(1 + d(xh)))                                     (4)
    w    = clip(|grad_K nll| / (|grad_K L_G| + 1e-4), 0, 1e4),  K = the decoder's last kernel   (5)

    reconstruction, s:  nll + w w_disc L_G          discriminator:  L_D                         (6)

Frames of videos are compared one by one in (1); the discriminator d sees images or videos, as they
come.

One gradient for both players. `stop_gradient` decides who sees what, so that the sum of (6) is a
scalar whose gradient with respect to {autoencoder, logvar, discriminator} is each player's own.
Both step at once from the same point, where the original alternates.

Each network differentiated once. nll and L_G reach the decoder only through xh. Their cotangents
c = d nll / d xh and g = d L_G / d xh are taken once, at a constant xh; pulled back through the last
layer alone they give the two norms of (5); and sum(stop_gradient(c + w w_disc g) * xh) has, by the
chain rule, the generator's gradient. Differentiating (5) and (6) as they stand would run the
perceptual network and the discriminator backwards twice.

The sums of (2) grow with the resolution: choose gradient clipping accordingly (Adam itself does not
see the scale). The networks come as callables; parameters are {"autoencoder", "logvar",
"perceptual" (frozen), "discriminator" (absent if disc_weight = 0)}.

Source: arXiv:2112.10752 App. G and the repository's `LPIPSWithDiscriminator`.
"""

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient

from vldm_jax.core.paths import flatten
from vldm_jax.typing import Array, Float, Int, Key, PyTree

Metrics = dict[str, Array]


class Matched(NamedTuple):
    """What a reconstruction costs.

    Attributes:
        value: of (6), both players together.
        surrogate: scalar that has the gradient of each player, and another value.
        metrics: the terms.
    """

    value: Float[Array, ""]
    surrogate: Float[Array, ""]
    metrics: Metrics


@dataclass(frozen=True, kw_only=True)
class ReconstructionLoss(abc.ABC):
    """Loss of a decoder and its discriminator; a subclass says what is decoded.

    Attributes:
        decode_features: (autoencoder params, z_raw) -> activations before the last layer.
        project: (autoencoder params, activations) -> x, the last layer alone.
        perceptual: (perceptual params, x, y) -> (n) distance; unused if perceptual_weight is 0.
        discriminate: (discriminator params, x) -> logits; unused if disc_weight is 0.
        last_kernel: path of the last kernel of `project`, for the adaptive weight.
        perceptual_weight: of LPIPS against L1.
        disc_weight: of the adversarial term; 0 leaves the discriminator out of the program.
        disc_start: first step of the adversarial game; before it, it is skipped at run time.
    """

    decode_features: Callable[..., Array]
    project: Callable[..., Array]
    perceptual: Callable[..., Array] | None = None
    discriminate: Callable[..., Array] | None = None
    last_kernel: str = "decoder/conv_out/kernel"
    perceptual_weight: float = 1.0
    disc_weight: float = 0.5
    disc_start: int = 50_001

    def __post_init__(self) -> None:
        """Check that every weighted term has its network."""
        if self.perceptual_weight and self.perceptual is None:
            raise ValueError(f"{self.perceptual_weight=} needs a perceptual network")
        if self.disc_weight and self.discriminate is None:
            raise ValueError(f"{self.disc_weight=} needs a discriminator")

    @abc.abstractmethod
    def __call__(
        self, params: PyTree, batch: PyTree, key: Key, step: int | Int[Array, ""]
    ) -> tuple[Float[Array, ""], Metrics]:
        """Return the sum of both players' losses and float32 metrics.

        Args:
            params: see the module.
            batch: with uint8 frames.
            key: key of this step.
            step: number of updates done, for disc_start.

        Returns:
            A scalar whose gradient is each player's own, and the terms.
        """

    def match(
        self,
        params: PyTree,
        z_raw: Float[Array, "b *t h w c"],
        x: Float[Array, "b *t H W 3"],
        step: int | Int[Array, ""],
    ) -> Matched:
        """Return (1) to (6) of what latents are decoded to, whose gradient reaches the latents.

        Args:
            params: see the module.
            z_raw: unscaled latents of images or videos.
            x: what they should be decoded to, in [-1, 1].
            step: number of updates done.
        """
        features = self.decode_features(params["autoencoder"], z_raw)
        xh = self.project(params["autoencoder"], features)
        (nll, terms), (cotangent, scale_gradient) = jax.value_and_grad(
            self._nll, argnums=(1, 2), has_aux=True
        )(*stop_gradient((params, xh, params["logvar"])), x)
        value, through_discriminator, metrics = nll, 0.0, dict(terms)
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
            + through_discriminator
        )
        return Matched(value, surrogate, metrics)

    def _nll(self, params: PyTree, xh: Array, s: Array, x: Array) -> tuple[Array, Metrics]:
        x, xh = (frames.reshape(-1, *frames.shape[-3:]) for frames in (x, xh))
        n, values = x.shape[0], x.size // x.shape[0]
        l1 = jnp.sum(jnp.abs(x - xh), axis=(1, 2, 3))
        lpips = jnp.zeros((n,))
        if self.perceptual_weight:
            lpips = self.perceptual(params["perceptual"], xh, x)
        rec = l1 + self.perceptual_weight * lpips * values
        nll = jnp.mean(rec / jnp.exp(s) + s * values)
        return nll, {"l1": jnp.mean(l1) / values, "lpips": jnp.mean(lpips), "logvar": s}

    def _game(
        self, params: PyTree, x: Array, xh: Array, features: Array, cotangent: Array, step: Any
    ) -> PyTree:
        """Return the weighted cotangent of (3), its value and metrics; zeros before the start."""

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
        """Equation (5) from the two cotangents at the image."""
        _, pull = jax.vjp(lambda p: self.project(p, features), stop_gradient(autoencoder))
        norms = [
            jnp.linalg.norm(flatten(pull(cotangent)[0])[self.last_kernel].reshape(-1))
            for cotangent in (nll, adversarial)
        ]
        return jnp.clip(norms[0] / (norms[1] + 1e-4), 0.0, 1e4)


def both_players(
    value: Float[Array, ""], surrogate: Float[Array, ""], metrics: Metrics
) -> tuple[Float[Array, ""], Metrics]:
    """Return a loss with this value and the gradient of a surrogate; metrics in float32."""
    loss = stop_gradient(value) + surrogate - stop_gradient(surrogate)
    metrics = {"loss": value, **metrics}
    return loss, {name: stop_gradient(m).astype(jnp.float32) for name, m in metrics.items()}


def hinge(real: Float[Array, "b *n 1"], fake: Float[Array, "b *n 1"]) -> Float[Array, ""]:
    """Return equation (4) from logits of real frames and of reconstructions."""
    return 0.5 * (jnp.mean(jax.nn.relu(1 - real)) + jnp.mean(jax.nn.relu(1 + fake)))
