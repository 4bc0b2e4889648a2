"""What a denoising network is told beside the noisy latents and the time.

One structure for all networks, so that a new kind of conditioning is a new field and no signature
changes. `None` means absent; a *dropped* condition (classifier-free guidance) is a value of its
own: the empty prompt's tokens for text, NaN for a label.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct


@struct.dataclass
class Conditioning:
    """Conditions of one batch; every field leads with the axis b.

    Fields are annotated `Any`, because the same class also carries shapes and shardings.

    Attributes:
        context: (b n d) tokens for spatial cross-attention.
        context_temporal: (b m d) tokens for temporal cross-attention; None means the spatial ones.
            Two fields because a DreamBooth backbone brings a text encoder of its own (App. H.3).
        labels: (b k) scalar labels, NaN where dropped.
        class_labels: (b) int, the noise level of an upscaler, in steps.
        added_time_ids: (b k) numbers embedded like the time and added to it; Stable Video
            Diffusion's are frames per second - 1, motion bucket and noise augmentation.
        concat: (b [t] h w c) image or video concatenated to z on channels.
        image_only: (b) bool, True where a sample is a set of independent images (mix := 1).
    """

    context: Any = None
    context_temporal: Any = None
    labels: Any = None
    class_labels: Any = None
    added_time_ids: Any = None
    concat: Any = None
    image_only: Any = None


def stack(first: Conditioning, second: Conditioning) -> Conditioning:
    """Return both conditionings as one batch of twice the size, `first` leading.

    Raises:
        ValueError: if one has a field that the other lacks.
    """
    if jax.tree.structure(first) != jax.tree.structure(second):
        raise ValueError(f"the two conditionings hold different fields: {first} and {second}")
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis=0), first, second)
