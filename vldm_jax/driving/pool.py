"""Clips rendered by several processes, handed back in order."""

import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any

from vldm_jax.core.processes import serve_parent, shielded


def run_all(
    function: Callable[..., Any], jobs: Iterable[tuple[Any, ...]], workers: int
) -> Iterator[Any]:
    """Yield `function(*job)` for every job, in order; results wait for at most 2 jobs a worker.

    Args:
        function: of a module, so that other processes can import it.
        jobs: its arguments, taken as they are needed.
        workers: processes; 1 works in this one.

    Raises:
        ChildProcessError: if a process dies.
    """
    jobs = iter(jobs)
    if workers == 1:
        yield from (function(*job) for job in jobs)
        return
    # panda3d keeps threads and global state, so its processes are started afresh, not forked. They
    # end with this one; Ctrl-C, which reaches them too, is for it alone.
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, context, serve_parent, (signal.SIGINT,)) as pool:
        try:
            waiting = []
            while True:
                while len(waiting) < 2 * workers and (job := next(jobs, None)) is not None:
                    with shielded():
                        waiting.append(pool.submit(function, *job))
                if not waiting:
                    return
                yield waiting.pop(0).result()
        except BrokenProcessPool as error:
            raise ChildProcessError(
                "a worker process has died, killed or out of memory: start again with fewer of them"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)  # else an interrupt waits for all jobs in line
