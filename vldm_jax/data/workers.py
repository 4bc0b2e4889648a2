"""Waiting for a batch, with a word when none comes.

Batches are asked for in a thread of their own, so that the one that needs them can look around
meanwhile. A worker process that has died ends the wait with a `WorkerError`, at once. One that is
stopped, or slow, is named in one line after `LATE_SECONDS`; it may go on, so the wait goes on too.
"""

import pickle
import re
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from multiprocessing import active_children, util
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import monotonic
from typing import Any

from tqdm import tqdm

from vldm_jax.core.processes import FOR_THE_PARENT, serve_parent, shielded

LATE_SECONDS = 60.0
LIKELY: dict[int, str] = {
    signal.SIGKILL: "out of memory? lower config.data.workers or the batch size",
    signal.SIGBUS: "shared memory is full: enlarge /dev/shm (docker run --shm-size), or set "
    "config.data.workers=0",
}


class WorkerError(ChildProcessError):
    """A worker process has died; the position of the loader is still that of its last batch."""


class Fetcher:
    """Items of an iterator that is fed by worker processes, or by none.

    Args:
        start: makes the iterator, which has a `close`.
        worker_count: processes that it starts.
    """

    def __init__(self, start: Callable[[], Any], worker_count: int):
        self._start, self._worker_count = start, worker_count
        self._others = set(active_children())
        self._workers: set[BaseProcess] = set()
        self._iterator: Any = None

    def fetch(self) -> Any:
        """Return the next item.

        Raises:
            StopIteration: if there is none.
            WorkerError: if a worker has died.
        """
        answer: Future[Any] = Future()
        threading.Thread(target=self._ask, args=(answer,), daemon=True).start()
        late = monotonic() + LATE_SECONDS
        while not wait([answer], timeout=1).done:
            self._look_after_workers()
            if monotonic() >= late:
                tqdm.write(self._why_late(), file=sys.stderr)
                late = float("inf")
        if len(self._workers) < self._worker_count:
            self._look_after_workers()
        error = answer.exception()
        if isinstance(error, RuntimeError) and "process was terminated" in str(error):
            self._look_after_workers()
            raise WorkerError(f"a loader worker has ended: {_first_sentence(error)}") from error
        return answer.result()

    def close(self) -> None:
        """Stop the workers."""
        for worker in filter(_is_stopped, self._workers):
            worker.kill()  # it would not hear
        if self._iterator is not None:
            self._iterator.close()

    def _ask(self, answer: Future[Any]) -> None:
        try:
            with shielded():  # grain starts its processes from here
                if self._iterator is None:
                    self._iterator = self._start()
                    # Workers ignore the SIGTERM by which Python ends what was not closed.
                    util.Finalize(self, self._iterator.close, exitpriority=10)
                answer.set_result(next(self._iterator))
        except BaseException as error:  # whatever it is, it is for the thread that waits
            answer.set_exception(error)

    def _look_after_workers(self) -> None:
        alive = set(active_children()) - self._others
        self._workers |= {process for process in alive if "grain" in process.name}
        for worker in self._workers:
            if worker.exitcode:
                raise WorkerError(f"loader worker {worker.pid} has died {_cause(worker.exitcode)}")

    def _why_late(self) -> str:
        stopped = [worker.pid for worker in self._workers if _is_stopped(worker)]
        if stopped:
            pids = " ".join(map(str, sorted(stopped)))
            why = f"loader worker {pids} is stopped; `kill -CONT {pids}` lets it go on"
        elif self._worker_count:
            why = f"{len(self._workers)} loader workers are at work; is the storage slow?"
        else:
            why = "it is being prepared; is the storage slow? config.data.workers may help"
        return f"waiting for a batch for {LATE_SECONDS:.0f} s: {why}"


class Portable:
    """A source whose errors reach another process: those that cannot be sent become one that can.

    What cannot be unpickled is lost on the way, and with it every word on what went wrong.
    """

    def __init__(self, source: Any):
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, key: Any) -> Any:
        try:
            return self._source[key]
        except Exception as error:  # of any kind, hence this class
            if _travels(error):
                raise
            raise RuntimeError(f"{type(error).__name__}: {error}") from error


def start_worker(index: int, count: int) -> None:
    """Do what a worker process does first."""
    del index, count
    serve_parent(*FOR_THE_PARENT)


def _travels(error: Exception) -> bool:
    try:
        return str(pickle.loads(pickle.dumps(error))) == str(error)
    except Exception:  # of its constructor, which may be any
        return False


def _is_stopped(worker: BaseProcess) -> bool:
    try:
        return Path(f"/proc/{worker.pid}/stat").read_text().rpartition(") ")[2][0] in "Tt"
    except OSError:  # gone, or a system without /proc
        return False


def _cause(exitcode: int) -> str:
    if exitcode > 0:
        return f"with exit code {exitcode}: what it printed says why"
    number = -exitcode
    likely = f": {LIKELY[number]}" if number in LIKELY else ""
    return f"of signal {number} ({signal.strsignal(number)}){likely}"


def _first_sentence(error: Exception) -> str:
    return re.split(r"\.\s", str(error))[0]
