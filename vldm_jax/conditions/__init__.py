"""Conditioning inputs of denoising networks, one a file, on `vldm_jax.nn`."""

from vldm_jax.conditions.base import Condition
from vldm_jax.conditions.conditioning import check, drop, examples, needs, null_of
from vldm_jax.conditions.table import CONDITIONS

__all__ = ["CONDITIONS", "Condition", "check", "drop", "examples", "needs", "null_of"]
