"""One architecture a file, assembled from `vldm_jax.nn`."""
