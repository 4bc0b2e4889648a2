"""Flow and middle frames of pictures whose motion is known."""

import jax.numpy as jnp
import numpy as np
import pytest
from shifted_textures import flow_params, moving, shifted, texture

from vldm_jax.core.errors import InputError
from vldm_jax.evals import flow
from vldm_jax.evals.networks.resample import warp
from vldm_jax.evals.pairs import over_pairs, to_x

H, W, INSIDE = 64, 96, slice(8, -8)


def pairs(shifts):
    """Textures (n h w 3), each of its own, and the same moved."""
    images = [texture(seed, H, W) for seed in range(len(shifts))]
    moved = [shifted(image, *s) for image, s in zip(images, shifts, strict=True)]
    return jnp.stack([shifted(image, 0, 0) for image in images]), jnp.stack(moved)


def found_shifts(shifts):
    """Return pairs of textures, the flow found inside them, and its mean error in pixels, each."""
    x, y = pairs(shifts)
    found = flow.optical_flow(flow_params(), x, y)[:, INSIDE, INSIDE]
    error = np.linalg.norm(found - np.asarray(shifts, np.float32)[:, None, None], axis=-1)
    return x, y, found, error.mean((1, 2))


def test_recovers_shifts_and_finds_none_between_equal_frames():
    _, _, found, error = found_shifts([(0, 0), (1, 0), (-3, 2)])
    assert error.max() < 0.3
    assert np.abs(found[0]).max() < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("sign", [1, -1])
def test_recovers_shifts_of_one_to_six_pixels(sign):
    across, down = ([(sign * n, 0) for n in range(1, 7)], [(0, sign * n) for n in range(1, 7)])
    for shifts in (across, down, [(sign * 4, -4), (sign * 2, 1), (sign * 1, -1), (sign * 3, 5)]):
        *_, error = found_shifts(shifts)
        assert error.max() < 0.3, dict(zip(shifts, error, strict=True))


@pytest.mark.slow
def test_larger_frames_are_enlarged_less_and_measured_as_well():
    image = texture(0, 104, 128)
    x, y = (jnp.asarray(shifted(image, *s))[None] for s in ((0, 0), (2, -1)))
    found = flow.optical_flow(flow_params(), x, y)[0, INSIDE, INSIDE]
    np.testing.assert_allclose(np.median(found, axis=(0, 1)), (2, -1), atol=0.3)


def test_middle_frame_is_half_the_way():
    image = texture(2, 32, 64)
    first, last = (jnp.asarray(shifted(image, *s))[None] for s in ((-2, 0), (2, 0)))
    middle = flow.interpolate(flow_params(), first, last)[0, :, INSIDE]
    true = shifted(image, 0, 0)[:, INSIDE]
    plain = ((first + last) / 2)[0, :, INSIDE]
    assert jnp.mean(jnp.square(middle - true)) < 0.1 * jnp.mean(jnp.square(plain - true))


@pytest.mark.slow
@pytest.mark.parametrize("time", [0.25, 0.75])
def test_frames_at_other_times_are_their_part_of_the_way(time):
    image = texture(2, 32, 64)
    first, last = (jnp.asarray(shifted(image, *s))[None] for s in ((-4, 0), (4, 0)))
    made = flow.interpolate(flow_params(), first, last, time)[0, :, INSIDE]
    errors = [float(jnp.mean(jnp.square(made - shifted(image, s, 0)[:, INSIDE])))
              for s in range(-4, 5)]  # fmt: skip
    assert np.argmin(errors) == 8 * time and min(errors) < 0.1 * errors[4], errors


def test_flow_of_an_even_motion_is_twice_the_way_from_the_middle():
    """What `_flow` makes of the network's answer, where that is right by construction."""
    step = jnp.array([2.0, -1.0]).reshape(1, 1, 1, 2)
    to_last = jnp.broadcast_to(step, (1, 16, 16, 2))
    between = flow.Between(-to_last, to_last, to_last[..., :1], jnp.zeros((1, 16, 16, 3)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flow, "_between", lambda *_: between)
        found = flow._flow({}, between.frame, between.frame)
    np.testing.assert_allclose(found, jnp.broadcast_to(2 * step, found.shape), atol=1e-6)


def test_flow_belongs_to_the_first_frame_not_to_the_middle():
    """A zoom about the middle of the picture by 0.8 and 1.2: what is at q goes to 1.2 / 0.8 q."""
    places = np.stack(np.meshgrid(np.arange(25) - 12.0, np.arange(17) - 8.0), axis=-1)[None]
    away = jnp.asarray(0.2 * places, jnp.float32)
    between = flow.Between(-away, away, away[..., :1], jnp.zeros((1, 17, 25, 3)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flow, "_between", lambda *_: between)
        found = flow._flow({}, between.frame, between.frame)
    inner = np.s_[:, 3:-3, 3:-3]
    np.testing.assert_allclose(found[inner], 0.5 * places[inner], atol=5e-3)


def test_visible_is_where_forward_and_back_agree_inside_the_picture():
    right = jnp.zeros((1, 6, 10, 2)).at[..., 0].set(3.0)
    expected = np.ones((6, 10))
    expected[:, 7:] = 0  # leaves the picture
    np.testing.assert_array_equal(flow.visible(right, -right)[0], expected)
    hidden = (-right).at[0, 2, 5].set(0.0)  # something else is where (2, 2) would have gone
    expected[2, 2] = 0
    np.testing.assert_array_equal(flow.visible(right, hidden)[0], expected)
    assert not flow.visible(right, right).any()


def test_chunks_give_each_entry_its_own_result(monkeypatch):
    monkeypatch.setattr(flow, "PAIRS", 2)
    x, y = (np.random.default_rng(i).normal(size=(5, 3, 4, 3)).astype(np.float32) for i in (0, 1))
    seen = []

    def function(a, b):
        seen.append(a.shape)
        return a - b, jnp.sum(a, axis=(1, 2, 3))

    difference, total = flow._in_chunks(function, jnp.asarray(x), jnp.asarray(y))
    assert set(seen) == {(2, 3, 4, 3)}
    np.testing.assert_array_equal(difference, x - y)
    np.testing.assert_allclose(total, x.sum((1, 2, 3)), rtol=1e-5)
    with pytest.raises(InputError, match="no pairs"):
        flow._in_chunks(function, jnp.zeros((0, 3, 4, 3)), jnp.zeros((0, 3, 4, 3)))


def test_pairs_of_videos_are_those_of_each_video():
    videos = np.concatenate([moving([(0, 0)] * 6, 4, 4, seed=s) for s in range(3)])
    videos[:, :, 0, 0, 0] = np.arange(18).reshape(3, 6)
    sizes = set()

    def first_pixels(before, after):
        sizes.add(len(before))
        return {"before": before[:, 0, 0, 0], "after": jnp.asarray(after)[:, :1, 0, 0]}

    found = over_pairs(first_pixels, videos)
    np.testing.assert_array_equal(found["before"], np.arange(18).reshape(3, 6)[:, :-1])
    np.testing.assert_array_equal(found["after"][..., 0], np.arange(18).reshape(3, 6)[:, 1:])
    assert sizes == {8}
    for shape in ((0, 4, 8, 8, 3), (2, 1, 8, 8, 3)):
        with pytest.raises(InputError, match="two frames at least"):
            over_pairs(first_pixels, np.zeros(shape, np.uint8))


def test_pixels_become_minus_one_to_one():
    frames = jnp.asarray([0, 51, 255], jnp.uint8).reshape(1, 1, 1, 3)
    np.testing.assert_allclose(to_x(frames)[0, 0, 0], [-1, -0.6, 1], atol=1e-6)


@pytest.mark.slow
def test_warping_by_the_flow_explains_the_first_frame():
    x, y, _, error = found_shifts([(4, 2)])
    assert error.max() < 0.3
    found = flow.optical_flow(flow_params(), x, y)
    left = jnp.abs(warp(y, found) - x)[:, INSIDE, INSIDE].mean()
    assert left < 0.2 * jnp.abs(y - x)[:, INSIDE, INSIDE].mean()
