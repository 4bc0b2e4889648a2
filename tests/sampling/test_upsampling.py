"""Upsampling of whole videos: noise that belongs to frames, tiles, chunks, and their stream."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from vldm_jax.core.errors import InputError
from vldm_jax.core.rng import stream
from vldm_jax.diffusion.denoiser import make_denoiser
from vldm_jax.diffusion.process import noised
from vldm_jax.diffusion.schedules import ScaledLinearSchedule
from vldm_jax.sampling.bicubic import Bicubic
from vldm_jax.sampling.grids import trailing
from vldm_jax.sampling.loop import sample
from vldm_jax.sampling.maker import to_uint8
from vldm_jax.sampling.noise import sample_keys
from vldm_jax.sampling.solvers.dpmpp_2m import DPMpp2M
from vldm_jax.sampling.upsampler import Upsampler
from vldm_jax.sampling.upsampling import LOW, downsample, enlarge, frame_noise, ramp, tiled

SCHEDULE = ScaledLinearSchedule(beta_start=0.0001, beta_end=0.02, num_steps=1000)
KEY, INDEX = jax.random.key(0), jnp.array([3, 5])
LOWS = np.random.default_rng(0).integers(0, 256, (2, 20, 4, 6, 3), np.uint8)


def mixing(params, z, time, cond):
    """A network of x0 that looks at what is around in time and in space, and at what it is told."""
    del params, time
    around = sum(jnp.roll(z, shift, axis) for axis in (1, 2, 3) for shift in (-1, 1)) / 6
    return jnp.tanh(0.5 * z + 0.3 * around + cond["concat"])


def all_frames(params, z, time, cond):
    """One whose frames look at all frames of their chunk."""
    del params, time
    return jnp.tanh(0.3 * z + 2.0 * jnp.mean(z, axis=1, keepdims=True) + cond["concat"])


def pointwise(params, z, time, cond):
    return jnp.tanh(z + cond["concat"])


def upsampler(network=pointwise, **changes):
    fields = {
        "network": network, "decode": lambda params, z, low: z, "drop": lambda cond, keys: cond,
        "tell": lambda low, time, size: {"concat": enlarge(low, *size)}, "schedule": SCHEDULE,
        "target": "x0", "solver": DPMpp2M(), "grid": trailing(SCHEDULE, 3), "guidance": (),
        "pixels": 1, "channels": 3, "low_noise": 50, "chunk": 8, "overlap": 2, "tile": None,
        "tile_overlap": 0, "name": "up",
    }  # fmt: skip
    return Upsampler(**{**fields, **changes})


def made(maker, low=LOWS, index=INDEX):
    return np.asarray(maker({}, KEY, index, {LOW: jnp.asarray(low)}))


# Pictures.


def test_downsampling_is_that_of_imaging_libraries():
    """Within a grey level of PIL's bicubic filter, which is antialiased, too."""
    rng = np.random.default_rng(1)
    picture = Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)).resize((32, 24), 2)
    there = picture.resize((8, 6), Image.Resampling.BICUBIC)
    x = jnp.asarray(np.asarray(picture), jnp.float32) / 127.5 - 1
    np.testing.assert_allclose(to_uint8(downsample(x)), np.asarray(there), atol=1)


def test_enlarging_to_the_same_size_changes_nothing():
    x = jax.random.normal(KEY, (2, 4, 6, 3))
    assert enlarge(x, 4, 6) is x
    assert enlarge(x, 8, 12).shape == (2, 8, 12, 3)


def test_the_baseline_is_bicubic():
    frames = made(Bicubic(), LOWS[:, :1])
    picture = Image.fromarray(LOWS[0, 0]).resize((24, 16), Image.Resampling.BICUBIC)
    inside = np.s_[4:-4, 4:-4]
    np.testing.assert_allclose(frames[0, 0][inside], np.asarray(picture)[inside], atol=1)


# One noise for the whole video.


def test_noise_belongs_to_the_video_and_the_frame():
    keys = sample_keys(KEY, INDEX)
    whole = frame_noise(keys, jnp.arange(9), (2, 3, 1))
    np.testing.assert_array_equal(whole[:, 4:7], frame_noise(keys, jnp.arange(4, 7), (2, 3, 1)))
    flat = np.asarray(whole).reshape(18, -1)
    assert len(np.unique(flat[:, 0])) == 18


def test_a_video_is_the_same_in_any_batch():
    both, one = made(upsampler(mixing)), made(upsampler(mixing), LOWS[1:], INDEX[1:])
    np.testing.assert_allclose(both[1], one[0], atol=1)


# Tiles.


def test_tiles_that_would_not_move_are_refused():
    z = jnp.zeros((1, 1, 8, 40, 1))
    with pytest.raises(InputError, match="an overlap of 8 must be less than the tile's 8"):
        tiled(lambda params, z, time, cond: z, (8, 8), 8)({}, z, jnp.zeros(1), {"concat": z})


def test_tiles_of_a_network_that_looks_nowhere_are_the_whole():
    plain, parts = made(upsampler()), made(upsampler(tile=(8, 12), tile_overlap=3))
    np.testing.assert_allclose(plain, parts, atol=1)


def test_no_tile_is_seen():
    """Of a network that gives each tile its own brightness; the step is spread over the overlap."""

    def own_brightness(params, z, time, cond):
        return jnp.broadcast_to(jnp.mean(z), z.shape)

    z = jnp.broadcast_to(jnp.linspace(-1, 1, 40)[None, None, None, :, None], (1, 1, 8, 40, 1))
    cond = {"concat": z}
    for overlap, largest in ((0, 0.5), (8, 0.09)):
        out = tiled(own_brightness, (8, 16), overlap)({}, z, jnp.zeros(1), cond)
        steps = np.abs(np.diff(np.asarray(out)[0, 0, 0, :, 0]))
        assert largest / 2 < steps.max() < 1.7 * largest
    assert ramp(6, 2).min() > 0


# Chunks.


def test_a_video_of_one_chunk_is_sampled_as_without_chunks():
    low, maker = jnp.asarray(LOWS[:, :8]), upsampler(mixing)
    keys = {what: sample_keys(stream(KEY, f"up {what}"), INDEX) for what in ("noise", "low")}
    x = low.astype(jnp.float32) / 127.5 - 1
    eps = frame_noise(keys["low"], jnp.arange(8), x.shape[2:])
    told = {"concat": enlarge(noised(x, eps, jnp.full(2, 50), SCHEDULE), 16, 24)}
    noise = frame_noise(keys["noise"], jnp.arange(8), (16, 24, 3))
    denoise = make_denoiser(lambda z, time: mixing({}, z, time, told), SCHEDULE, "x0")
    plain = sample(denoise, DPMpp2M(), maker.grid, noise, KEY)
    np.testing.assert_allclose(made(maker, low), to_uint8(plain), atol=1)


def test_chunks_of_a_network_that_sees_frames_alone_are_the_whole():
    """Noise agrees in what chunks share, so their predictions do, too."""
    np.testing.assert_allclose(made(upsampler()), made(upsampler(chunk=20)), atol=1)
    np.testing.assert_allclose(made(upsampler()), made(upsampler(chunk=5, overlap=0)), atol=1)


def test_the_stream_is_the_same_video_by_one_program_for_any_length():
    maker, parts = upsampler(mixing), []
    for length in (20, 14):
        parts = list(maker.stream({}, KEY, INDEX, {LOW: LOWS[:, :length]}))
        np.testing.assert_allclose(np.concatenate(parts, 1), made(maker, LOWS[:, :length]), atol=1)
    assert max(part.shape[1] for part in parts) <= 8
    assert [program._cache_size() for program in maker._programs.values()] == [1]


@pytest.mark.parametrize("steps", [2, 4])
def test_a_stream_that_was_stopped_goes_on_with_the_same_video(steps):
    """Of blocks of six frames more are done than the steps of the solver reach back, and fewer."""
    low = np.tile(LOWS, (1, 2, 1, 1, 1))
    maker = upsampler(all_frames, grid=trailing(SCHEDULE, steps))
    whole = np.concatenate(list(maker.stream({}, KEY, INDEX, {LOW: low})), 1)
    for start in (18, 20):
        rest = np.concatenate(list(maker.stream({}, KEY, INDEX, {LOW: low}, start=start)), 1)
        np.testing.assert_allclose(whole[:, start:], rest, atol=1)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 14, 15, 20])
def test_what_is_added_to_the_low_frames_is_added_to_its_own(length):
    """Of a network that finds nothing to add all frames are bicubic, in whatever block they end."""

    def nothing(params, z, time, cond):
        return jnp.zeros_like(z)

    def added(params, z, low):
        return z + enlarge(low, 16, 24, "cubic")

    low = LOWS[:, :length]
    for overlap, steps in ((2, 3), (2, 1), (0, 3)):
        grid = trailing(SCHEDULE, steps)
        maker = upsampler(nothing, decode=added, overlap=overlap, grid=grid)
        np.testing.assert_array_equal(made(maker, low), made(Bicubic(), low))
        for start in (0, length // 2):
            parts = list(maker.stream({}, KEY, INDEX, {LOW: low}, start=start))
            np.testing.assert_array_equal(np.concatenate(parts, 1), made(Bicubic(), low)[:, start:])


def test_what_a_sweep_keeps_does_not_grow_with_the_video():
    maker, low, sizes = upsampler(mixing), jnp.asarray(LOWS[:, :8]), []
    for length in (10, 20):
        chunks = maker.chunks(length)
        state = jax.eval_shape(lambda c=chunks: maker.first(KEY, INDEX, low, c))
        sizes.append([leaf.shape for leaf in jax.tree.leaves(state)])
    assert sizes[0] == sizes[1]


def test_videos_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="there is nothing to upsample"):
        upsampler()({}, KEY, INDEX, {})
    with pytest.raises(InputError, match="frames of 4x6 become 16x24, which must be"):
        made(upsampler(pixels=5))


def test_broken_weights_are_named_and_not_shown():
    def broken(params, z, time, cond):
        return z * jnp.nan

    with pytest.raises(InputError, match="not finite"):
        made(upsampler(broken))
    with pytest.raises(InputError, match="frames from 0 on are not finite"):
        list(upsampler(broken).stream({}, KEY, INDEX, {LOW: LOWS}))
