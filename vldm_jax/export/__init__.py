"""Networks and samplers as programs that run without this project, and what leaves a run.

frames = load_program("sampler")(index=np.arange(4, dtype=np.int32), labels=labels)
"""

from vldm_jax.export.program import Program, load_program, save_program

__all__ = ["Program", "load_program", "save_program"]
