"""Several processes that run one program: starting them, and agreeing on what to do next.

Every process runs the same steps in the same order; only process 0 writes logs. Whatever could
differ between processes (a signal, a clock) is agreed on before anyone acts on it, otherwise one
process would wait forever inside a collective that the others never enter.
"""

import os

import jax
import numpy as np
from jax._src.distributed import global_state  # jax has no public way to its coordinator
from jax.experimental import multihost_utils

from vldm_jax.core.errors import InputError
from vldm_jax.parallel.watch import FAILED, JAX_SECONDS, Watch

_watch: Watch | None = None  # of the other processes, if there are any


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
        InputError: if only some of the three are given, or the others are not found.
    """
    given = [value is not None for value in (coordinator, num_processes, process_id)]
    if any(given) and not all(given):
        raise InputError(
            "a run of several processes needs coordinator, num_processes and process_id: "
            f"got {coordinator=}, {num_processes=}, {process_id=}"
        )
    alone = not all(given) and os.environ.get("VLDM_DISTRIBUTED") != "auto"
    if not alone:
        try:
            jax.distributed.initialize(
                coordinator, num_processes, process_id, heartbeat_timeout_seconds=JAX_SECONDS
            )
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"the processes of this run do not find each other: {reason}"
            ) from error
        global _watch
        _watch = Watch(global_state.client, jax.process_index(), jax.process_count())
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


def leave() -> None:
    """Tell the other processes, if there are any, that this one ends with an error."""
    if _watch is not None:
        _watch.end(FAILED)


def await_verdict() -> None:
    """Wait a while after an unexpected error: if another process is gone, this one ends now."""
    if _watch is not None:
        _watch.await_verdict()


def barrier(name: str) -> None:
    """Wait until every process is here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)
