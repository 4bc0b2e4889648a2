"""The image latent diffusion model.

    z0 = s E(x),  x a single frame,   then the denoising loss of `denoising.py`

with the labels and text of a sample replaced by the null condition with probability `p_drop`, for
classifier-free guidance. That E stays as it is, is said by the rule list, not here.

Source: Align your Latents, arXiv:2304.08818, Sec. 3.1 and App. H.1 (p_drop = 0.1 for driving).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from vldm_jax.core.rng import stream
from vldm_jax.training.objectives import base, denoising
from vldm_jax.typing import Array, Float, Int, Key, PyTree


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ImageObjective:
    """Denoising loss of an image model on the latents of single frames.

    Attributes:
        encode: (autoencoder's parameters, x (b h w 3) in [-1, 1]) -> (mean, logvar) of z_raw; None
            if batches bring these as "latent_mean" and "latent_logvar".
        predict: (network's parameters, z, time, Conditioning) -> the network's output.
        diffusion: schedule, target, weighting.
        latent_scale: z = latent_scale * z_raw.
        p_drop: probability with which a sample loses its labels and text.
        use_labels: whether the network takes "labels" (b k).
        null_context: (n d) tokens of the empty prompt if the network takes "context" (b n d).
    """

    encode: Callable | None
    predict: Callable
    diffusion: denoising.Diffusion
    latent_scale: float
    p_drop: float = 0.1
    use_labels: bool = False
    null_context: Any = None

    @property
    def needs(self) -> tuple[str, ...]:
        """Return the batch keys that `loss` reads."""
        conditions = denoising.condition_needs(self.use_labels, self.null_context)
        return base.latent_needs("image", self.encode) + conditions

    def loss(
        self, params: PyTree, batch: dict[str, Any], key: Key, step: Int[Array, ""]
    ) -> tuple[Float[Array, ""], dict[str, Any]]:
        """Return (loss, metrics), see `base.Objective.loss`."""
        z_raw = base.encode_frames(self.encode, params, batch, "image", stream(key, "posterior"))
        drop = jax.random.bernoulli(stream(key, "drop"), self.p_drop, z_raw.shape[:1])
        cond = denoising.conditions(
            batch, drop, use_labels=self.use_labels, null_context=self.null_context
        )
        return denoising.denoising_loss(
            self.predict, self.diffusion, params["network"], self.latent_scale * z_raw, cond, key
        )
