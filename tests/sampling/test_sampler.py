"""A sampler is its parts: noise of its own, null conditions for guidance, checked bytes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.diffusion.schedules import ScaledLinearSchedule
from vldm_jax.sampling import DDIM, Sampler, trailing
from vldm_jax.sampling.sampler import Guidance

SCHEDULE = ScaledLinearSchedule()
PARAMS = {"bias": jnp.float32(0.0)}
KEY = jax.random.key(0)


def network(params, z, time, cond):
    """An x0 that is what it is told: the mean of z's noise plays no part."""
    return jnp.zeros_like(z) + cond["level"][(..., *[None] * (z.ndim - 1))] + params["bias"]


def make(**fields):
    given = dict(
        network=network,
        decode=lambda params, z: jnp.repeat(z, 3, axis=-1),
        drop=lambda cond, keys: {**cond, **{k: jnp.zeros_like(cond[k]) for k in keys}},
        schedule=SCHEDULE,
        target="x0",
        solver=DDIM(),
        grid=trailing(SCHEDULE, 3),
        guidance=(),
        shape=(2, 4, 4, 1),
        name="toy",
    )
    return Sampler(**(given | fields))


def start_of(sampler, index=(0,)):
    """The first z that the network meets: noise alone."""
    seen = []

    def spy(params, z, time, cond):
        jax.debug.callback(lambda value: seen.append(np.asarray(value)), z)
        return jnp.zeros_like(z)

    parts = {name: getattr(sampler, name) for name in ("shape", "name")}
    cond = {"level": jnp.zeros(len(index))}
    make(network=spy, **parts).latents(PARAMS, KEY, jnp.array(index), cond)
    jax.effects_barrier()
    return seen[0]


def test_samples_are_what_they_were_asked_for():
    levels = jnp.array([0.5, -0.5])
    frames = make()(PARAMS, KEY, jnp.arange(2), {"level": levels})
    assert frames.shape == (2, 2, 4, 4, 3) and frames.dtype == jnp.uint8
    assert isinstance(frames, jax.Array)  # still on the device
    assert np.all(np.abs(np.asarray(frames[0], int) - 191) <= 1)
    assert np.all(np.abs(np.asarray(frames[1], int) - 64) <= 1)


def test_guidance_moves_away_from_the_dropped_conditions():
    """x0 = 0 + 2 (0.25 - 0)."""
    z = make(guidance=(Guidance(("level",), 2.0),)).latents(
        PARAMS, KEY, jnp.arange(1), {"level": jnp.array([0.25])}
    )
    np.testing.assert_allclose(z, 0.5, atol=1e-5)


def test_without_guidance_no_null_is_asked_for():
    """Only the text encoder knows the empty prompt's tokens, and nothing needs them."""

    def no_null(cond, keys):
        raise AssertionError("a null condition was asked for")

    none = (Guidance(("level",), 1), Guidance(("text",), 3.0))
    z = make(drop=no_null, guidance=none).latents(
        PARAMS, KEY, jnp.arange(1), {"level": jnp.array([0.25])}
    )
    np.testing.assert_allclose(z, 0.25, atol=1e-5)


def test_images_are_videos_of_one_frame():
    frames = make(shape=(4, 4, 1))(PARAMS, KEY, jnp.arange(3), {"level": jnp.zeros(3)})
    assert frames.shape == (3, 1, 4, 4, 3)


def test_two_names_never_draw_the_same_noise():
    one, other = start_of(make(name="image")), start_of(make(name="video"))
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.6
    np.testing.assert_array_equal(one, start_of(make(name="image")))


def test_noise_belongs_to_the_number_of_a_sample():
    together = start_of(make(), (4, 7))
    np.testing.assert_array_equal(together[1:], start_of(make(), (7,)))


def test_batches_are_filled_up_and_cut():
    """Five samples, two at a time: three calls of one program, five results."""
    cond = {"level": np.linspace(-1, 1, 5).astype(np.float32)}
    batches = list(make().in_batches(PARAMS, KEY, np.arange(5), cond, 2))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    whole = make()(PARAMS, KEY, jnp.arange(5), {"level": jnp.asarray(cond["level"])})
    np.testing.assert_array_equal(np.concatenate(batches), whole)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 16])
def test_samples_are_the_same_on_any_number_of_devices(size):
    """Their noise belongs to their number; five samples, so that batches are filled up and cut."""

    def noisy(params, z, time, cond):
        return 0.1 * z + cond["level"][:, None, None, None, None]

    sampler, cond = make(network=noisy), {"level": np.linspace(-1, 1, 5).astype(np.float32)}
    index = np.array([4, 0, 7, 9, 2])

    def found(devices):
        batches = list(sampler.in_batches(PARAMS, KEY, index, cond, size, devices))
        assert all(len(batch) <= size for batch in batches)
        return np.concatenate(batches).astype(int)

    one = found(jax.local_devices()[:1])
    assert len(one) == 5 and one.std() > 1 and np.abs(one[0] - one[1]).max() > 1
    for devices in (jax.local_devices()[:2], jax.local_devices()[:4], None):
        assert np.abs(found(devices) - one).max() <= 1  # a byte, where one is rounded
    if size <= 5:
        assert [len(batch) for batch in sampler.in_batches(PARAMS, KEY, index, cond, size)] == [
            *[size] * (5 // size), *[5 % size] * (5 % size > 0),
        ]  # fmt: skip


def test_every_device_makes_its_share_of_a_batch():
    shapes = []

    def counting(params, z, time, cond):
        shapes.append(z.shape[0])
        return network(params, z, time, cond)

    sampler, cond = make(network=counting), {"level": np.zeros(8, np.float32)}
    list(sampler.in_batches(PARAMS, KEY, np.arange(8), cond, 8))
    assert jax.local_device_count() == 4 and set(shapes) == {2}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_an_error(value):
    """Broken weights must not become a black video."""
    broken = {"bias": jnp.float32(value)}
    with pytest.raises(InputError, match=r"samples \[3\] are not finite"):
        make()(broken, KEY, jnp.array([3]), {"level": jnp.zeros(1)})


def test_a_decoder_that_breaks_is_an_error_too():
    broken = make(decode=lambda params, z: jnp.repeat(z / 0.0, 3, axis=-1))
    with pytest.raises(InputError, match="not finite"):
        broken(PARAMS, KEY, jnp.array([0]), {"level": jnp.zeros(1)})
