import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vldm_jax.diffusion.guidance import Away, guided, linear_scale

B, T = 2, 3
Z = jax.random.normal(jax.random.key(0), (B, T, 4, 4, 2))
TIME = jnp.asarray([10.0, 500.0])
COND = {"context": jnp.full((B, 5, 7), 2.0), "labels": jnp.asarray([[1.0], [3.0]])}
NULL = {"context": jnp.zeros((B, 5, 7)), "labels": jnp.asarray([[-1.0], [0.5]])}


class Recorder:
    """A network that depends on all that it is given, sample by sample, and counts its calls."""

    def __init__(self):
        self.batches = []

    def __call__(self, z, time, cond):
        self.batches.append(z.shape[0])
        told = jnp.mean(cond["context"], axis=(1, 2)) + cond["labels"][:, 0] + time / 100
        told = told.reshape(told.shape + (1,) * (z.ndim - 1))
        return jnp.sin(z * told) + told


def test_the_pair_is_one_call_of_twice_the_batch():
    network = Recorder()
    answer = guided(network, COND, Away(NULL, 3.0))(Z, TIME)
    assert network.batches == [2 * B]
    assert answer.shape == Z.shape


def test_extrapolates_from_null_through_cond():
    network = Recorder()
    wanted, null = network(Z, TIME, COND), network(Z, TIME, NULL)
    for scale in (0.0, 0.5, 3.0):
        np.testing.assert_allclose(
            guided(network, COND, Away(NULL, scale))(Z, TIME),
            (1 - scale) * null + scale * wanted,
            atol=1e-5,
        )


def test_linear_in_the_scale():
    at = [guided(Recorder(), COND, Away(NULL, jnp.float32(s)))(Z, TIME) for s in (1.0, 2.0, 5.0)]
    np.testing.assert_allclose(at[2] - at[0], 4 * (at[1] - at[0]), atol=1e-4)


def test_scale_one_is_the_conditional_answer_at_half_the_cost():
    network = Recorder()
    expected = network(Z, TIME, COND)
    np.testing.assert_array_equal(guided(network, COND, Away(NULL, 1.0))(Z, TIME), expected)
    assert network.batches == [B, B]
    traced = guided(network, COND, Away(NULL, jnp.float32(1.0)))(Z, TIME)
    np.testing.assert_allclose(traced, expected, atol=1e-6)


def test_each_frame_can_have_its_own_scale():
    scales = linear_scale(1.0, 2.5, T)
    np.testing.assert_allclose(scales, [1.0, 1.75, 2.5])
    answer = guided(Recorder(), COND, Away(NULL, scales))(Z, TIME)
    for frame, scale in enumerate((1.0, 1.75, 2.5)):
        alone = guided(Recorder(), COND, Away(NULL, scale))(Z, TIME)
        np.testing.assert_allclose(answer[:, frame], alone[:, frame], atol=1e-6)


def test_frame_scales_for_what_has_no_such_frames_are_refused():
    with pytest.raises(ValueError, match="b t h w c"):
        guided(Recorder(), COND, Away(NULL, jnp.ones(T)))(Z[:, 0], TIME)
    with pytest.raises(ValueError, match="does not lead"):
        guided(Recorder(), COND, Away(NULL, jnp.ones(B)))(Z, TIME)


def test_the_null_condition_leads_the_pair():
    seen = {}

    def network(z, time, cond):
        seen.update(cond)
        return z

    guided(network, COND, Away(NULL, 2.0))(Z, TIME)
    assert seen["context"].shape == (2 * B, 5, 7)
    assert seen["labels"][:, 0].tolist() == [-1.0, 0.5, 1.0, 3.0]


def test_a_key_that_one_condition_lacks_is_refused():
    with pytest.raises(ValueError, match="other keys.*context.*labels"):
        guided(Recorder(), COND, Away({"context": NULL["context"]}, 2.0))(Z, TIME)


NO_TEXT = {**COND, "context": NULL["context"]}
NO_LABELS = {**COND, "labels": NULL["labels"]}


def test_two_directions_add_up_and_are_one_call():
    network = Recorder()
    wanted, *others = (network(Z, TIME, cond) for cond in (COND, NO_TEXT, NO_LABELS))
    expected = wanted + 2.0 * (wanted - others[0]) + 0.5 * (wanted - others[1])
    network.batches.clear()
    both = guided(network, COND, Away(NO_TEXT, 3.0), Away(NO_LABELS, 1.5))(Z, TIME)
    np.testing.assert_allclose(both, expected, atol=1e-5)
    assert network.batches == [3 * B]


def test_a_direction_of_scale_one_is_as_if_it_were_not_there():
    """With labels kept, context guidance is the paper's Eq. 4 of that network."""
    network = Recorder()
    alone = guided(network, COND, Away(NO_TEXT, 3.0))(Z, TIME)
    with_one = guided(network, COND, Away(NO_TEXT, 3.0), Away(NO_LABELS, 1))(Z, TIME)
    np.testing.assert_array_equal(with_one, alone)
    assert network.batches == [2 * B, 2 * B]
