"""Chunks of a video, averaged in every step: the sweeps are all chunks in lockstep."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.sampling.chunks import Chunks, chunks_of, first_state, sweep
from vldm_jax.sampling.loop import sample, start
from vldm_jax.sampling.solvers.ancestral import Ancestral
from vldm_jax.sampling.solvers.ddim import DDIM
from vldm_jax.sampling.solvers.dpmpp_2m import DPMpp2M
from vldm_jax.sampling.solvers.heun import Heun

SIGMAS = np.append(np.geomspace(40.0, 0.01, 12), 0.0)
KEYS = jax.random.split(jax.random.key(9), 400)


def process(frames, length):
    """Return the covariance of a Gaussian process over frames, smooth over about `length`."""
    apart = np.arange(frames)[:, None] - np.arange(frames)[None, :]
    return np.exp(-0.5 * (apart / length) ** 2) + 1e-3 * np.eye(frames)


def exact(covariance):
    """Return the denoiser of x (b t 1) that knows the process: the mean of x0 given x."""
    covariance = jnp.asarray(covariance, jnp.float32)
    eye = jnp.eye(len(covariance))

    def denoise(x, sigma):
        return jnp.einsum(
            "st,btc->bsc", covariance @ jnp.linalg.inv(covariance + sigma**2 * eye), x
        )

    return denoise


def in_sweeps(denoise, solver, noise, chunks, of_chunk=None):
    """Return samples of (b t 1) noise, made in sweeps; `noise` covers whole blocks.

    What denoises is `denoise`, or what `of_chunk` makes of a chunk's number.
    """
    of_chunk = of_chunk or (lambda chunk: denoise)
    block, steps = chunks.block, len(SIGMAS) - 1

    def of(number):
        return noise[:, number * block : (number + 1) * block]

    state, out = first_state(solver, SIGMAS, of(0), chunks.overlap), []
    keys = KEYS[: len(noise)]

    @jax.jit
    def take(state, noise, number):
        denoiser = lambda step: of_chunk(number - step)  # noqa: E731
        return sweep(denoiser, solver, SIGMAS, noise, keys, state, number, chunks, chunks.count)

    for number in range(chunks.sweeps(steps)):
        here = of(number + 1)
        here = here if here.shape[1] == block else jnp.zeros_like(of(0))
        state, made = take(state, here, number)
        out.append(made)
    return jnp.concatenate(out[steps - 1 :], axis=1)[:, : chunks.frames]


def in_lockstep(denoise, noise, chunks):
    """Return what DDIM makes of all chunks at once, averaged in every step."""
    rise = np.minimum(np.arange(1, chunks.size + 1), chunks.overlap + 1) / (chunks.overlap + 1)
    x = start(noise, SIGMAS)
    for sigma, after in zip(SIGMAS[:-1], SIGMAS[1:], strict=True):
        total, weights = jnp.zeros_like(x), np.zeros((1, x.shape[1], 1))
        for k in range(chunks.count):
            weight = np.ones(chunks.size)
            if k:
                weight = weight * rise
            if k < chunks.count - 1:
                weight = weight * rise[::-1]
            where = slice(k * chunks.block, k * chunks.block + chunks.size)
            total = total.at[:, where].add(weight[None, :, None] * denoise(x[:, where], sigma))
            weights[:, where] += weight[None, :, None]
        x0 = total / weights
        x = x0 + after / sigma * (x - x0)
    return x


@pytest.mark.parametrize(("size", "overlap", "count"), [(5, 2, 4), (4, 2, 3), (3, 0, 3), (5, 1, 1)])
def test_sweeps_are_all_chunks_in_lockstep(size, overlap, count):
    chunks = chunks_of(count * (size - overlap) + overlap, size, overlap)
    assert chunks.count == count
    noise = jax.random.normal(jax.random.key(0), (3, (count + 1) * chunks.block, 1))
    denoise = exact(process(size, 2.0))
    swept = in_sweeps(denoise, DDIM(), noise, chunks)
    alike = in_lockstep(denoise, noise[:, : chunks.frames], chunks)
    np.testing.assert_allclose(swept, alike, atol=1e-4)


@pytest.mark.parametrize("solver", [DDIM(), DPMpp2M()])
def test_a_video_of_one_chunk_is_sampled_as_without_chunks(solver):
    chunks = chunks_of(8, 8, 2)
    noise = jax.random.normal(jax.random.key(0), (3, 2 * chunks.block, 1))
    denoise = exact(process(8, 2.0))
    plain = sample(denoise, solver, SIGMAS, noise[:, :8], jax.random.key(1))
    np.testing.assert_allclose(in_sweeps(denoise, solver, noise, chunks), plain, atol=1e-5)


def joint(video, chunks):
    """Return the change of frames where they change most in a block, over that elsewhere in it."""
    change = np.abs(np.diff(np.asarray(video)[..., 0], axis=1)).mean(0)
    inner = change[chunks.size - 1 : chunks.size - 1 + chunks.block * (chunks.count - 2)]
    of_place = inner.reshape(-1, chunks.block).mean(0)
    return of_place.max() / np.delete(of_place, of_place.argmax()).mean()


@pytest.mark.parametrize("length", [2.0, 4.0])
def test_no_joint_is_seen_in_a_process_that_is_seen_through_noise(length):
    """As an upsampler sees what it makes; without overlap, frames break off at every border."""
    rng, noise = np.random.default_rng(0), jax.random.normal(jax.random.key(0), (400, 80, 1))
    truth = rng.multivariate_normal(np.zeros(80), process(80, length), size=400)[..., None]
    seen = jnp.asarray(truth + np.sqrt(0.1) * rng.normal(size=truth.shape), jnp.float32)
    prior = process(8, length)
    gain = prior @ np.linalg.inv(prior + 0.1 * np.eye(8))
    left = exact(prior - gain @ prior)

    def ratio(chunks):
        def of_chunk(chunk):
            own = jax.lax.dynamic_slice_in_dim(seen, chunk * chunks.block, 8, axis=1)
            mean = jnp.einsum("st,btc->bsc", jnp.asarray(gain, jnp.float32), own)
            return lambda x, sigma: mean + left(x - mean, sigma)

        return joint(in_sweeps(None, DDIM(), noise, chunks, of_chunk), chunks)

    assert ratio(chunks_of(62, 8, 2)) < 1.1
    assert ratio(chunks_of(64, 8, 0)) > 1.4


def test_solvers_that_add_noise_add_it_once_to_a_frame():
    """The process keeps its spread: no noise would narrow it, noise twice widen it."""
    chunks, denoise = chunks_of(20, 8, 2), exact(process(8, 2.0))
    noise = jax.random.normal(jax.random.key(0), (400, 30, 1))
    video = in_sweeps(denoise, Ancestral(eta=1.0), noise, chunks)
    plain = sample(denoise, Ancestral(eta=1.0), SIGMAS, noise[:, :8], KEYS)
    np.testing.assert_allclose(jnp.std(video), jnp.std(plain), rtol=0.1)


def test_a_solver_that_asks_twice_is_refused():
    chunks = chunks_of(12, 8, 2)
    noise = jnp.zeros((1, 24, 1))
    with pytest.raises(InputError, match="Heun asks the network more than once"):
        in_sweeps(exact(process(8, 2.0)), Heun(), noise, chunks)


def test_chunks_cover_the_video_and_turn_back_beyond_its_end():
    for frames in range(1, 30):
        chunks = chunks_of(frames, 8, 3)
        numbers = [chunks.numbers(k) for k in range(chunks.count)]
        assert {int(n) for row in numbers for n in row} == set(range(frames))
        assert all(len(row) == min(8, frames) for row in numbers)
        assert np.abs(np.diff(np.concatenate([numbers[-1][:1], numbers[-1]]))).max() <= 1
    with pytest.raises(InputError, match="at most half of a chunk's 4 frames"):
        Chunks(frames=9, size=4, overlap=3)
