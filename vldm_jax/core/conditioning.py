"""What a denoising network is told beside the noisy latents and the time.

One structure for all networks, so that a new kind of conditioning is a new field and no signature
changes. `None` means absent; a *dropped* condition (classifier-free guidance) is a value of its
own: the empty prompt's tokens for text, NaN for a label.
"""

import jax
import jax.numpy as jnp
from flax import struct

from vldm_jax.typing import Array, Bool, Float, Int


@struct.dataclass
class Conditioning:
    """Conditions of one batch; every field leads with the axis b.

    Attributes:
        context: tokens for spatial cross-attention.
        context_temporal: tokens for temporal cross-attention; None means the spatial ones. Two
            fields because a DreamBooth backbone brings a text encoder of its own (paper App. H.3).
        labels: scalar labels, NaN where dropped.
        class_labels: noise level of an upscaler, in steps.
        concat: image or video concatenated to z on channels.
        image_only: True where a sample is a set of independent images (mix := 1).
    """

    context: Float[Array, "b n d"] | None = None
    context_temporal: Float[Array, "b m d2"] | None = None
    labels: Float[Array, "b k"] | None = None
    class_labels: Int[Array, " b"] | None = None
    concat: Float[Array, "b *t h w c"] | None = None
    image_only: Bool[Array, " b"] | None = None


def stack(first: Conditioning, second: Conditioning) -> Conditioning:
    """Return both conditionings as one batch of twice the size, `first` leading.

    Raises:
        ValueError: if one has a field that the other lacks.
    """
    if jax.tree.structure(first) != jax.tree.structure(second):
        raise ValueError(f"the two conditionings hold different fields: {first} and {second}")
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis=0), first, second)
