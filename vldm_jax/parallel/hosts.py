"""Several processes that run one program: starting them, and agreeing on what to do next.

Every process runs the same steps in the same order; only process 0 writes logs. Whatever could
differ between processes (a signal, a clock) is agreed on before anyone acts on it, otherwise one
process would wait forever inside a collective that the others never enter.
"""

import os

import jax
import numpy as np
from jax.experimental import multihost_utils

from vldm_jax.core.errors import InputError


def start(
    coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None
) -> str:
    """Join the other processes, if there are any, and return one line that says who this one is.

    With all arguments None, the run is a single process unless the environment variable
    `VLDM_DISTRIBUTED` is "auto": then jax finds the cluster (Cloud TPU, Slurm, Open MPI) by itself.
    Must be called before anything touches a device.

    Args:
        coordinator: "host:port" of process 0.
        num_processes: how many processes there are.
        process_id: which one this is, from 0.

    Raises:
        InputError: if only some of the three are given.
    """
    given = [value is not None for value in (coordinator, num_processes, process_id)]
    if any(given) and not all(given):
        raise InputError(
            "a run of several processes needs coordinator, num_processes and process_id: "
            f"got {coordinator=}, {num_processes=}, {process_id=}"
        )
    if all(given):
        jax.distributed.initialize(coordinator, num_processes, process_id)
    elif "VLDM_DISTRIBUTED" in os.environ and os.environ["VLDM_DISTRIBUTED"] == "auto":
        jax.distributed.initialize()
    return (
        f"process {jax.process_index()} of {jax.process_count()}: {jax.local_device_count()} of "
        f"{jax.device_count()} {jax.default_backend()} devices"
    )


def is_main() -> bool:
    """Return whether this is the process that writes logs and files."""
    return jax.process_index() == 0


def agree(flag: bool) -> bool:
    """Return process 0's flag, in every process. A collective: all must call it."""
    if jax.process_count() == 1:
        return flag
    return bool(multihost_utils.broadcast_one_to_all(np.asarray(flag)))


def barrier(name: str) -> None:
    """Wait until every process is here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)
