"""Conditioning inputs of denoising networks, one a file, on `vldm_jax.nn`."""

from vldm_jax.conditions.conditioning import check, drop, examples, needs, null_of
from vldm_jax.conditions.table import CONDITIONS

__all__ = ["CONDITIONS", "check", "drop", "examples", "needs", "null_of"]
