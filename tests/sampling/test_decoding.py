"""Decoding in parts: what is local is exact, what is not is near, and every frame comes once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.sampling.decoding import (
    InParts,
    in_tiles,
    in_windows,
    starts,
    stream_windows,
    windows,
)

REACH = 2  # frames, and latents, that the toy decoder sees on each side


def latents(frames=13, height=6, width=10, seed=0):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.normal(size=(2, frames, height, width, 3)), jnp.float32)


def blurred(x, axis):
    """Sum what is near along an axis, with weights that tell its order; zeros beyond the ends."""
    filled = [(0, 0)] * x.ndim
    filled[axis] = (REACH, REACH)
    padded = jnp.pad(x, filled)
    parts = [
        (1 + k) * jax.lax.slice_in_dim(padded, k, k + x.shape[axis], axis=axis)
        for k in range(2 * REACH + 1)
    ]
    return sum(parts)


def enlarged(x):
    return jnp.repeat(jnp.repeat(x, 2, axis=-3), 2, axis=-2)


def over_frames(z):
    """Decode by a sum over frames within `REACH`, and twice the size."""
    return enlarged(blurred(z, 1))


@pytest.mark.parametrize(("frames", "overlap"), [(5, 2), (7, 2), (9, 3), (6, 2), (20, 2)])
def test_windows_that_overlap_by_what_the_decoder_sees_are_the_whole(frames, overlap):
    z = latents()
    made = jax.jit(functools.partial(in_windows, over_frames, frames=frames, overlap=overlap))(z)
    np.testing.assert_allclose(made, over_frames(z), atol=1e-5)


def test_with_less_overlap_they_are_not_and_differ_at_joints_alone():
    z = latents()
    apart = jnp.abs(in_windows(over_frames, z, frames=7, overlap=1) - over_frames(z))
    wrong = np.flatnonzero(np.asarray(apart).max((0, 2, 3, 4)) > 1e-3)
    joints = [window.first for window in windows(13, 7, 1)[1:]]
    assert set(wrong) == {frame for joint in joints for frame in (joint - 1, joint)}


@pytest.mark.parametrize("total", [1, 4, 5, 6, 17, 113])
@pytest.mark.parametrize(("frames", "overlap"), [(5, 2), (8, 1), (4, 0)])
def test_every_frame_is_kept_once_with_its_neighbours_on_both_sides(total, frames, overlap):
    table = windows(total, frames, overlap)
    kept = [i for one in table for i in range(one.first, one.last)]
    assert kept == list(range(total))
    for start, first, last in table:
        assert 0 <= start and (start + frames <= total or total < frames)
        assert first in (0, start + overlap) or first - start > overlap
        assert last == total or start + frames - last >= overlap


def test_a_stream_is_the_whole_video_in_its_order():
    z = latents(frames=23)
    parts = list(stream_windows(jax.jit(over_frames), z, frames=8, overlap=2))
    assert len(parts) > 3 and max(part.shape[1] for part in parts) <= 8
    np.testing.assert_allclose(jnp.concatenate(parts, 1), over_frames(z), atol=1e-5)


def test_one_program_decodes_windows_of_videos_of_any_length():
    traced = []

    @jax.jit
    def decode(z):
        traced.append(z.shape)
        return over_frames(z)

    for frames in (23, 40, 113):
        for _ in stream_windows(decode, latents(frames=frames), frames=8, overlap=2):
            pass
    assert len(traced) == 1


def test_memory_of_a_decoder_does_not_grow_with_the_video():
    """What the compiler sets aside beside the latents and the frames that it returns."""

    def decode(z):  # a decoder with large activations
        return (
            jnp.tanh(jnp.repeat(over_frames(z), 64, axis=-1))
            .reshape(*z.shape[:2], 12, 20, 3, 64)
            .mean(-1)
        )

    def aside(frames):
        function = functools.partial(in_windows, decode, frames=8, overlap=2)
        z = jax.ShapeDtypeStruct((1, frames, 6, 10, 3), jnp.float32)
        memory = jax.jit(function).lower(z).compile().memory_analysis()
        return memory.temp_size_in_bytes - memory.output_size_in_bytes

    assert aside(160) <= aside(40) + 4 * 160 * 12 * 20 * 3


@pytest.mark.parametrize(("tile", "blend"), [((4, 4), 2), ((3, 10), 1), ((6, 7), 6), ((8, 12), 4)])
def test_tiles_of_a_decoder_that_sees_each_latent_alone_are_the_whole(tile, blend):
    z = latents()
    for one in (z, z[:, 0]):
        made = jax.jit(functools.partial(in_tiles, enlarged, tile=tile, blend=blend))(one)
        np.testing.assert_allclose(made, enlarged(one), atol=1e-6)


def test_tiles_of_another_decoder_are_blended_and_leave_no_jump():
    """Of a decoder that gives each tile its mean: weights add up, and no step is a whole one."""

    def constant(z):
        return jnp.full((*z.shape[:-3], 2 * z.shape[-3], 2 * z.shape[-2], 3), 1.0)

    z = latents(height=6, width=16)
    ones = in_tiles(constant, z, tile=(6, 7), blend=4)
    np.testing.assert_allclose(ones, 1.0, atol=1e-6)

    def mean(z):
        return jnp.broadcast_to(
            z.mean((-3, -2), keepdims=True), (*z.shape[:-3], 2 * z.shape[-3], 2 * z.shape[-2], 3)
        )

    ramp = jnp.broadcast_to(jnp.arange(16.0).reshape(1, 1, 1, 16, 1), z.shape)
    row = np.asarray(in_tiles(mean, ramp, tile=(6, 7), blend=4))[0, 0, 0, :, 0]
    jump = 3  # of the means of two tiles, whose starts are three latents apart
    assert 0 < np.diff(row).max() < 0.5 * jump and row.max() - row.min() > jump


def test_parts_of_both_kinds_together():
    z = latents()
    parts = InParts(frames=7, overlap=2, tile=(4, 5), blend=2)
    np.testing.assert_allclose(parts(over_frames, z), over_frames(z), atol=1e-4)
    np.testing.assert_array_equal(InParts()(over_frames, z), over_frames(z))


def test_starts_reach_the_end_and_no_further():
    assert starts(10, 4, 3) == [0, 3, 6]
    assert starts(11, 4, 3) == [0, 3, 6, 7]
    assert starts(3, 4, 3) == [0]


def test_what_keeps_nothing_is_refused():
    with pytest.raises(InputError, match="windows of 4 frames .* by 2 on both sides keep none"):
        windows(10, 4, 2)
    with pytest.raises(InputError, match="tiles of 3x4 latents cannot overlap by 3"):
        in_tiles(enlarged, latents(), tile=(3, 4), blend=3)
