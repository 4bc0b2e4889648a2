"""CLIPSIM: how well frames show what their caption says.

    CLIPSIM = mean over clips of the mean over frames of cosine(frame, caption)

with the cosines of `vldm_jax.evals.networks.clip`. Real clips with their captions score about 0.3,
not 1: give theirs beside those of generated ones.

Source: Wu et al., GODIVA, arXiv:2104.14806, Sec. 4.2.
"""

import dataclasses

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.typing import Float


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipSim:
    """Similarity of clips to their captions.

    Attributes:
        overall: mean over clips, in [-1, 1].
        per_clip: mean over the frames of each clip.
    """

    overall: float
    per_clip: tuple[float, ...]


def measure_clipsim(cosines: Float[np.ndarray, "b t"]) -> ClipSim:
    """Return the figures of a set of clips, computed in float64.

    Args:
        cosines: of every frame with its clip's caption.

    Raises:
        InputError: if there are no frames, or a cosine is not finite.
    """
    if 0 in cosines.shape:
        raise InputError(f"{cosines.shape} clips and frames: give at least one of each")
    broken = np.flatnonzero(~np.isfinite(cosines).all(axis=1))
    if broken.size:
        raise InputError(
            f"clip {broken[0]} has a similarity that is not finite ({broken.size} such clips): "
            "look at its frames and the network's weights"
        )
    per_clip = cosines.astype(np.float64).mean(axis=1)
    return ClipSim(overall=float(per_clip.mean()), per_clip=tuple(per_clip.tolist()))
