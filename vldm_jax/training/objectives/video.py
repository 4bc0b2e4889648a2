"""Temporal alignment: the loss that the temporal layers are trained with.

    z0[t] = s E(x[t])  for each frame of a clip, stop-gradient                                (1)
    one time a clip, independent noise a frame, then the loss of `denoising.py` over all frames

The spatial layers see the frames as a batch of images and stay as they are (the rule list freezes
them); the gradient reaches the temporal layers and their mix with the spatial ones.

Source: Align your Latents, arXiv:2304.08818, Sec. 3.1.1.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from vldm_jax.core.rng import stream
from vldm_jax.training.objectives import base, denoising
from vldm_jax.typing import Array, Float, Int, Key, PyTree


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class VideoObjective:
    """Denoising loss of a video model on clips.

    Attributes:
        encode: (autoencoder's parameters, x (b h w 3) in [-1, 1]) -> (mean, logvar) of z_raw; None
            if batches bring these as "latent_mean" and "latent_logvar" (b t h w c).
        predict: (network's parameters, z (b t h w c), time (b), Conditioning) -> shape of z.
        diffusion: schedule, target, weighting.
        latent_scale: z = latent_scale * z_raw.
        p_drop: probability with which a clip loses its labels and text.
        use_labels: whether the network takes "labels" (b k).
        null_context: (n d) tokens of the empty prompt if the network takes "context" (b n d).
        mixes: network's parameters -> {layer: mix in [0, 1]}, for the metrics, or None.
    """

    encode: Callable | None
    predict: Callable
    diffusion: denoising.Diffusion
    latent_scale: float
    p_drop: float = 0.1
    use_labels: bool = False
    null_context: Any = None
    mixes: Callable | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """Return the batch keys that `loss` reads."""
        conditions = denoising.condition_needs(self.use_labels, self.null_context)
        return base.latent_needs("video", self.encode) + conditions

    def loss(
        self, params: PyTree, batch: dict[str, Any], key: Key, step: Int[Array, ""]
    ) -> tuple[Float[Array, ""], dict[str, Any]]:
        """Return (loss, metrics), see `base.Objective.loss`."""
        z_raw = base.encode_frames(self.encode, params, batch, "video", stream(key, "posterior"))
        drop = jax.random.bernoulli(stream(key, "drop"), self.p_drop, z_raw.shape[:1])
        cond = denoising.conditions(
            batch, drop, use_labels=self.use_labels, null_context=self.null_context
        )
        loss, metrics = denoising.denoising_loss(
            self.predict, self.diffusion, params["network"], self.latent_scale * z_raw, cond, key
        )
        if self.mixes is not None:
            metrics |= summarise_mixes(self.mixes(params["network"]))
        return loss, metrics


def summarise_mixes(mixes: dict[str, Any]) -> dict[str, Any]:
    """Return mix_mean, mix_min and mix_max over all layers (1: image model, 0: temporal only)."""
    values = jnp.concatenate([jnp.ravel(mix).astype(jnp.float32) for mix in mixes.values()])
    values = jax.lax.stop_gradient(values)
    return {
        "mix_mean": jnp.mean(values),
        "mix_min": jnp.min(values),
        "mix_max": jnp.max(values),
    }
