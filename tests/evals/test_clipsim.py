import numpy as np
import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.evals.clipsim import measure_clipsim


def test_means_over_frames_then_over_clips():
    figures = measure_clipsim(np.array([[0.2, 0.4], [-0.1, 0.1], [0.3, 0.3]], np.float32))
    assert figures.per_clip == pytest.approx((0.3, 0.0, 0.3))
    assert figures.overall == pytest.approx(0.2)


def test_what_cannot_be_averaged_is_refused():
    with pytest.raises(InputError, match="at least one"):
        measure_clipsim(np.zeros((2, 0)))
    with pytest.raises(InputError, match="clip 1 has a similarity that is not finite"):
        measure_clipsim(np.array([[0.1, 0.2], [np.nan, 0.1]]))
