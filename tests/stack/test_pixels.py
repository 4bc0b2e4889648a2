"""Frames of a reel are those of the whole video, whichever are asked for."""

import jax.numpy as jnp
import numpy as np
import pytest

from vldm_jax.models.autoencoder import Autoencoder
from vldm_jax.sampling.decoding import InParts
from vldm_jax.sampling.maker import to_uint8
from vldm_jax.stack.pixels import Decoder
from vldm_jax.stack.reel import Reel
from vldm_jax.stages.latents import Latents


def of_neighbours(params, z):
    """Decode each frame with the one before and the one behind it."""
    padded = jnp.pad(z, ((0, 0), (1, 1), (0, 0), (0, 0), (0, 0)))
    mixed = 0.5 * padded[:, 1:-1] + 0.4 * padded[:, :-2] - 0.3 * padded[:, 2:]
    return mixed[..., :3]


@pytest.fixture
def reel(tmp_path):
    made, rng = Reel(tmp_path / "reel"), np.random.default_rng(0)
    for frames in (5, 1, 7, 10):
        made.append(jnp.float32(rng.normal(size=(2, frames, 2, 3, 4))))
    return made


@pytest.mark.parametrize("frames", [3, 6, 23, 40, None])
@pytest.mark.parametrize(("start", "stop"), [(0, 23), (0, 9), (9, 18), (11, 12), (18, 23)])
def test_a_temporal_decoder_sees_over_the_joints(reel, frames, start, stop):
    decoder = Decoder(of_neighbours, {}, InParts(frames=frames, overlap=1))
    whole = to_uint8(of_neighbours({}, reel.between(0, 23)))[1]
    made = decoder.frames(reel, 1, start, stop)
    assert np.abs(np.int32(made) - np.int32(whole[start:stop])).max() <= 1


def test_a_short_video_is_decoded_at_once_whatever_windows_overlap_by(tmp_path):
    made = Reel(tmp_path / "reel")
    made.append(jnp.ones((1, 3, 2, 3, 4)))
    decoder = Decoder(of_neighbours, {}, InParts(overlap=4))
    assert decoder.whole and len(decoder.frames(made, 0, 0, 3)) == 3


def test_devices_that_share_frames_get_all_of_them_at_once():
    module = Autoencoder(base=4, mult=(1,), norm_groups=4, temporal_decoder=True)
    parts = InParts(frames=16, overlap=4)
    assert Latents(module, parts, split=True).parts_of_stream.frames is None
    assert Latents(module, parts, split=False).parts_of_stream == parts


def test_windows_without_overlap_would_not(reel):
    decoder = Decoder(of_neighbours, {}, InParts(frames=6, overlap=0))
    whole = to_uint8(of_neighbours({}, reel.between(0, 23)))[1]
    apart = np.abs(np.int32(decoder.frames(reel, 1, 0, 23)) - np.int32(whole))
    assert apart.max() > 10
