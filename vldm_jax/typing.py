"""The type vocabulary: array annotations of jaxtyping with the axis letters of the house.

Axes: b batch, t frames, h w space, c channels, n tokens, d width, heads, s sampler steps. A video
is `b t h w c` everywhere. `Array` is jax's array (concrete or traced); NumPy's are `np.ndarray`.

`Conditioning` is what a denoising network is told beside the noisy latents and the time, `{key:
array}`, every array leading with b. A key that is absent was not said; a condition that is dropped
(classifier-free guidance) has a null value of its own.

    context           (b n d) tokens of cross-attention
    context_temporal  (b m d) tokens of temporal cross-attention, where they are others
    labels            (b k) scalar labels, NaN where dropped
    boxes             (b n 4) boxes of an image, NaN where dropped
    class_labels      (b) int, the noise level of an upscaler, in steps
    added_time_ids    (b k) numbers embedded like the time and added to it
    concat            (b [t] h w c) image or video concatenated to z on channels
    image_only        (b) bool, True where a sample is a set of independent images (mix := 1)

Further keys are those of further conditions (`vldm_jax.conditions`).
"""

from typing import Any, TypeAlias

import jax
from jaxtyping import Array, Bool, Float, Int, Shaped, UInt8

PyTree: TypeAlias = Any
Key: TypeAlias = jax.Array
DTypeLike: TypeAlias = Any
Conditioning: TypeAlias = dict[str, Any]

__all__ = [
    "Array",
    "Bool",
    "Conditioning",
    "DTypeLike",
    "Float",
    "Int",
    "Key",
    "PyTree",
    "Shaped",
    "UInt8",
]
