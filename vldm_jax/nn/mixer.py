"""The learned blend of a spatial layer's output with a temporal layer's.

    out = mix * spatial + (1 - mix) * temporal        mix = sigmoid(logit) in [0, 1]     (Sec. 3.1)

so mix = 1 is the image model. Computed as spatial + (1 - mix) * (temporal - spatial): a temporal
layer that returns its input then leaves the spatial output as it was, bit for bit, for any mix.

Deviation: the paper does not say how mix is kept in [0, 1]; a logit keeps gradients alive where a
clamped value initialised to 1 next to zero-initialised layers would never start to learn.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.core.shapes import expand_like
from vldm_jax.typing import Array, Bool, DTypeLike, Float, PyTree


class Mixer(nn.Module):
    """Blend; one parameter `logit`, float32.

    Attributes:
        mix: "scalar", one weight for all frames (text-to-video), or "per_frame", one for each of a
            fixed number of frames (App. D).
        num_frames: number of weights if per frame.
        init_logit: initial logit of every weight.
        dtype: type of the result; the blend itself is float32.
    """

    mix: str = "scalar"
    num_frames: int | None = None
    init_logit: float = 0.0
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        spatial: Float[Array, "b t *rest"],
        temporal: Float[Array, "b t *rest"],
        image_only: Bool[Array, " b"] | None,
    ) -> Float[Array, "b t *rest"]:
        """Return the blend; samples flagged `image_only` return `spatial`.

        Raises:
            InputError: if the mix is per frame and the video has another number of frames.
        """
        shape = self._logit_shape(spatial.shape[1])
        logit = self.param("logit", nn.initializers.constant(self.init_logit), shape)
        weight = 1.0 - jax.nn.sigmoid(logit.astype(jnp.float32))
        weight = weight.reshape(1, -1, *(1,) * (spatial.ndim - 2))
        base = spatial.astype(jnp.float32)
        change = temporal.astype(jnp.float32) - base
        if image_only is not None:
            # Of the change, not of its weight: a weight of 0 would let NaN through.
            change = jnp.where(expand_like(image_only, change), 0.0, change)
        return (base + weight * change).astype(self.dtype)

    def _logit_shape(self, frames):
        if self.mix == "scalar":
            return ()
        if frames != self.num_frames:
            raise InputError(
                f"mixer: mix 'per_frame' was made for {self.num_frames} frames, got {frames}; "
                "use that many frames, change model.temporal.num_frames, or use mix 'scalar' for a "
                "variable length"
            )
        return (frames,)


def mixes(params: PyTree) -> dict[str, Any]:
    """Return {layer: mix in [0, 1]} of every mixer in a parameter tree: () or (num_frames) each."""
    ending = "/mixer/logit"
    return {
        path.removesuffix(ending): jax.nn.sigmoid(jnp.asarray(leaf, jnp.float32))
        for path, leaf in paths.flatten(params).items()
        if path.endswith(ending)
    }
