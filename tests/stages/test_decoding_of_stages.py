"""How stages decode: windows of frames by their config, one frame at a time, over devices."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from small_stages import config_of

from vldm_jax.core.errors import InputError
from vldm_jax.models.autoencoder import Autoencoder
from vldm_jax.sampling.decoding import InParts
from vldm_jax.stages.latents import Latents, parts_of
from vldm_jax.stages.table import make_stage

IMAGE = Autoencoder(base=8, mult=(1, 1), blocks=0, norm_groups=4, latent_scale=0.5)
VIDEO = IMAGE.clone(temporal_decoder=True)
Z = jnp.float32(np.random.default_rng(0).normal(size=(1, 11, 3, 4, 4)))


@functools.cache
def trained(module):
    (x,) = module.smallest_inputs(3)
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)["params"]
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: jnp.float32(0.2 * rng.normal(size=leaf.shape)), shapes)


def decoded(module, parts=None, split=False, z=Z):
    latents = Latents(module, parts or InParts(), split)
    return np.asarray(jax.jit(latents.decode)(trained(module), z))


def apart(one, other):
    """Return the largest and the mean difference, in standard deviations."""
    difference = np.abs(one - other) / other.std()
    return difference.max(), difference.mean()


def test_frames_of_an_image_decoder_may_be_decoded_in_any_windows():
    whole = decoded(IMAGE)
    for frames in (1, 4):
        made = decoded(IMAGE, InParts(frames=frames, overlap=0))
        np.testing.assert_allclose(made, whole, atol=1e-5)
    needless = Latents(IMAGE, InParts(frames=5, overlap=2))  # which an image decoder does without
    text = jax.jit(needless.decode).lower(trained(IMAGE), Z).as_text()
    plain = Latents(IMAGE, InParts(frames=5, overlap=0))
    assert text == jax.jit(plain.decode).lower(trained(IMAGE), Z).as_text()


def test_windows_of_a_temporal_decoder_come_nearer_with_their_overlap():
    """Random layers look at all frames as strongly as can be: norms are of 7 frames, not of 11."""
    whole = decoded(VIDEO)
    found = [apart(decoded(VIDEO, InParts(frames=7, overlap=o)), whole)[1] for o in (0, 1, 3)]
    assert found[0] > found[1] > found[2] > 0
    assert found[2] < 0.1
    # Frames whose windows are alone are other frames.
    assert apart(decoded(VIDEO, InParts(frames=1, overlap=0)), whole)[1] > 5 * found[2]


def test_split_over_devices_is_exact_whatever_the_windows():
    whole = decoded(VIDEO)
    for parts in (None, InParts(frames=3, overlap=1)):
        assert apart(decoded(VIDEO, parts, split=True), whole)[0] < 1e-5


def test_an_image_is_a_video_of_one_frame_to_a_temporal_decoder():
    for split in (False, True):
        made = decoded(VIDEO, split=split, z=Z[:, 3])
        np.testing.assert_allclose(made, decoded(VIDEO, z=Z[:, 3:4])[:, 0], atol=1e-5)


@pytest.mark.parametrize("kind", ["image", "video"])
def test_a_sampler_decodes_as_its_config_says(request, world, kind):
    config = request.getfixturevalue(kind)(sampling={"decode": {"frames": 2, "overlap": 0}})
    stage = make_stage(config)
    params, _ = stage.load(str(world[kind]))
    shape = (2, *stage.shape)
    z = jnp.float32(np.random.default_rng(0).normal(size=shape))
    text = jax.jit(stage.sampler().decode).lower(params, z).as_text()
    assert ("while" in text) == (kind == "video")  # windows of 2 of 3 frames


def test_split_samples_are_those_of_one_device(video, world):
    found = []
    for split in (False, True):
        stage = make_stage(video(sampling={"decode": {"split": split}}))
        params, _ = stage.load(str(world["video"]))
        key, index = jax.random.key(0), np.arange(3)
        batches = stage.sampler().in_batches(params, key, index, stage.request(3), 2)
        found.append(np.concatenate(list(batches)))
    one, two = (np.int32(frames) for frames in found)
    assert np.abs(one - two).max() <= 1


@pytest.mark.parametrize(
    ("decode", "message"),
    [
        ({"frames": 0}, "decode: decoding in parts: frames=0 must be a whole number of at least 1"),
        (
            {"frames": 8, "overlap": 4},
            "decode: windows of 8 frames that overlap by 4 on both sides",
        ),
        ({"tile": (4,)}, r"decode: decoding in parts: tile=\(4,\) must be \(height, width\)"),
        ({"tile": (4, 4)}, "decode: tiles of 4x4 latents cannot overlap by 4"),
        ({"split": 1}, "decode.split=1 must be True or False"),
        ({"chunk": 3}, "decode: decoding in parts has no field 'chunk'"),
    ],
)
@pytest.mark.parametrize("kind", ["autoencoder", "image"])
def test_what_cannot_be_is_refused_on_the_config_alone(image, kind, decode, message):
    config = image() if kind == "image" else config_of(kind)
    with config.unlocked():
        config.sampling.decode = ConfigDict({**config.sampling.decode.to_dict(), **decode})
    with pytest.raises(InputError, match=message):
        make_stage(config)


def test_the_usual_is_windows_of_sixteen():
    parts, split = parts_of(config_of("autoencoder").sampling)
    assert (parts.frames, parts.overlap, parts.tile, split) == (16, 4, None, False)
    assert dataclasses.replace(parts, overlap=7).frames == 16
