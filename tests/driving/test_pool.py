import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vldm_jax.driving.pool import run_all


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order(workers):
    jobs = [(number, 7) for number in range(20, 0, -1)]
    assert list(run_all(divmod, jobs, workers)) == [divmod(*job) for job in jobs]


@pytest.mark.parametrize("workers", [1, 2])
def test_jobs_are_taken_as_they_are_needed(workers):
    taken = []

    def jobs():
        for number in range(1000):
            taken.append(number)
            yield number, 1

    results = run_all(divmod, jobs(), workers)
    assert next(results) == (0, 0) and len(taken) <= 2 * workers
    results.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_reaches_the_caller(workers):
    with pytest.raises(ZeroDivisionError):
        list(run_all(divmod, [(1, 1), (1, 0)], workers))


def test_a_worker_that_dies_is_one_line():
    with pytest.raises(ChildProcessError, match="a worker process has died"):
        list(run_all(os._exit, [(1,)], 2))


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_a_parent_that_is_killed(number):
    code = """
import time
from vldm_jax.driving.pool import run_all
if __name__ == "__main__":
    list(run_all(time.sleep, [(60,), (60,)], 2))
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
        deadline = time.monotonic() + 20
        while len(pids := children.read_text().split()) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)  # two workers and Python's resource tracker
        time.sleep(0.5)
        parent.send_signal(number)
    deadline = time.monotonic() + 30
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(pids) == 3 and not any(map(is_alive, pids))
