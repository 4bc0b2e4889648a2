"""Set before anything of the package is imported: devices, strictness, checked annotations."""

import os

os.environ["JAX_PLATFORMS"] = "cpu"
# Tests compile much and run little: unoptimised code halves their time.
os.environ["XLA_FLAGS"] = " ".join(
    [
        *os.environ.get("XLA_FLAGS", "").split(),
        "--xla_force_host_platform_device_count=4",
        "--xla_backend_optimization_level=0",
    ]
)

from jaxtyping import install_import_hook

install_import_hook("vldm_jax", "beartype.beartype")

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
