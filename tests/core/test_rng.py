import jax
import jax.numpy as jnp

from vldm_jax.core.rng import stream


def data(key):
    return jax.random.key_data(key)


def test_the_same_in_and_out_of_jit():
    root = jax.random.key(0)
    jitted = jax.jit(lambda step: data(stream(root, "noise", step)))
    assert (jitted(jnp.int32(7)) == data(stream(root, "noise", 7))).all()


def test_names_steps_and_seeds_give_different_keys():
    root, other = jax.random.key(0), jax.random.key(1)
    keys = [
        stream(root, "noise", 1),
        stream(root, "noise", 2),
        stream(root, "time", 1),
        stream(root, "noise"),
        stream(other, "noise", 1),
    ]
    assert len({tuple(data(key).tolist()) for key in keys}) == len(keys)
