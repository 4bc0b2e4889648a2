"""Processes that work for this one: they end with it, and leave to it what signals mean.

A killed process cannot tell its workers, so they look: the parent of an orphan is another one. (The
kernel's own PR_SET_PDEATHSIG does not serve: it fires when the *thread* that started a process
ends, and grain starts its workers from threads that come and go.)

Ctrl-C and the SIGTERM of a scheduler go to all processes of a job. A worker that died of them would
take away the batch that its parent still waits for, and one that is still importing would print a
traceback: so they are started `shielded` and call `serve_parent` first.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing import resource_tracker

LOOK_SECONDS = 0.5
FOR_THE_PARENT = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back from this thread and from the processes that it starts."""
    resource_tracker.ensure_running()  # on its start, Python lifts the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, FOR_THE_PARENT)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def serve_parent(*ignored: signal.Signals) -> None:
    """Make this process end soon after its parent, which started it by `multiprocessing`.

    Args:
        ignored: signals to ignore from now on.
    """
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FOR_THE_PARENT)
    parent = multiprocessing.parent_process()
    assert parent is not None, "only a worker has a parent to serve"
    threading.Thread(target=_watch, args=(parent.pid,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    os._exit(1)
