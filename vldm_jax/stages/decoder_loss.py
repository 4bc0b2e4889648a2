"""The loss of a temporal decoder: that of reconstructions, of videos, by a 3-D discriminator.

    z[t] = mean + exp(logvar / 2) n,  (mean, logvar) = E(x[t])    each frame, stop-gradient     (1)
    xh   = D(z[1], ..., z[t])                                     together                      (2)

and `reconstruction_loss` of xh. The encoder is not trained, so there is no KL divergence; it has
parameters of its own, {"encoder"}, beside those of the decoder, {"autoencoder"}.

Source: arXiv:2304.08818, Sec. 3.1.1 and Fig. 3, which names reconstruction and a patch-wise
temporal discriminator of 3-D convolutions; weights are not told, they are those of images here.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax

from vldm_jax.core.rng import stream
from vldm_jax.sampling.maker import to_pixels
from vldm_jax.stages.latents import sample_posterior
from vldm_jax.stages.reconstruction_loss import Metrics, ReconstructionLoss, both_players
from vldm_jax.typing import Array, Float, Int, Key, PyTree


@dataclass(frozen=True, kw_only=True)
class DecoderLoss(ReconstructionLoss):
    """Loss of a temporal decoder and its discriminator.

    Attributes:
        encode: (encoder params, x (b t H W 3)) -> (mean, logvar), each frame alone.
    """

    encode: Callable[..., tuple[Array, Array]]

    def __call__(
        self, params: PyTree, batch: PyTree, key: Key, step: int | Int[Array, ""]
    ) -> tuple[Float[Array, ""], Metrics]:
        """Return both players' losses of a batch {"video": uint8 (b t h w 3)}, and their terms."""
        x = to_pixels(batch["video"])
        moments = jax.lax.stop_gradient(self.encode(params["encoder"], x))
        z_raw = sample_posterior(*moments, stream(key, "posterior"))
        return both_players(*self.match(params, z_raw, x, step))
