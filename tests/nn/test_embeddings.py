import jax.numpy as jnp
import numpy as np

from vldm_jax.nn.embeddings import sinusoid


def test_sinusoid_leads_with_cosines_and_slows_geometrically():
    time = np.array([0.0, 1.0, 999.0])
    out = sinusoid(jnp.asarray(time, jnp.float32), 6)
    waves = time[:, None] * 10000.0 ** (-np.arange(3) / 3)
    np.testing.assert_allclose(out, np.concatenate([np.cos(waves), np.sin(waves)], 1), atol=1e-4)


def test_integer_and_fractional_times_agree():
    whole = sinusoid(jnp.array([3, 500]), 8)
    np.testing.assert_array_equal(whole, sinusoid(jnp.array([3.0, 500.0]), 8))
