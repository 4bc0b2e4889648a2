"""Two processes train what one trains, through a checkpoint or a SIGTERM; the first one logs.

If one is lost, the other says which and ends.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from tiny_training import train

from vldm_jax.checkpoint.steps import complete_steps

SECONDS = 0.2  # to prepare a batch: jax looks for a signal once a second


@contextlib.contextmanager
def two_processes(workdir, *arguments, **environment):
    """Start both; they are gone when the context ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Path(__file__).with_name("tiny_process.py")
    processes = [
        subprocess.Popen(
            [sys.executable, str(program), *map(str, (workdir, port, index, *arguments))],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | environment,
        )
        for index in range(2)
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()
            process.stdout.close()


def outputs_of(processes, code=0):
    """What they printed, once both have ended with the same code."""
    outputs = [process.communicate(timeout=600)[0] for process in processes]
    assert [process.returncode for process in processes] == [code, code], "\n".join(outputs)
    return outputs


def assert_state_is_that_of_one_process(workdir, one):
    with np.load(workdir / "state.npz") as two:
        for name, leaf in zip(two.files, jax.tree.leaves(one), strict=True):
            np.testing.assert_allclose(two[name], leaf, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_two_processes_are_one(tmp_path):
    with two_processes(tmp_path / "two", 0, 3, 6) as processes:
        outputs = outputs_of(processes)
    assert "process 1 of 2: 1 of 2 cpu devices" in outputs[1]
    assert "step 6/6" in outputs[0] and "step 6/6" not in outputs[1]
    records = (tmp_path / "two" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(record)["step"] for record in records] == [2, 3, 4, 6]
    assert_state_is_that_of_one_process(tmp_path / "two", train(tmp_path / "one", 6)[0])


@pytest.mark.slow
def test_sigterm_to_one_process_stops_both_at_one_step(tmp_path):
    """Process 1 alone is asked to leave; checkpoint and restart are those of a run of both."""
    folder = tmp_path / "two" / "checkpoints"
    with two_processes(tmp_path / "two", SECONDS, 200) as processes:
        deadline = time.monotonic() + 300
        while not complete_steps(folder):
            assert all(process.poll() is None for process in processes), outputs_of(processes)
            assert time.monotonic() < deadline, "no checkpoint in time"
            time.sleep(0.02)
        processes[1].send_signal(signal.SIGTERM)
        outputs = outputs_of(processes, code=143)
    (saved,) = complete_steps(folder)
    assert saved < 200
    assert f"stopped by SIGTERM after step {saved} of 200" in outputs[0]
    assert [f"left at step {saved}\n" in output for output in outputs] == [True, True]
    with two_processes(tmp_path / "two", 0, saved + 3) as processes:
        outputs = outputs_of(processes)
    assert f"resumed from step {saved}" in outputs[0]
    assert_state_is_that_of_one_process(tmp_path / "two", train(tmp_path / "one", saved + 3)[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lost", "number", "how"),
    [
        (1, signal.SIGKILL, "has not been heard of for 30 s"),
        (1, signal.SIGSTOP, "has not been heard of for 30 s"),
        (0, signal.SIGKILL, "is gone, jax has ended this one"),
        (0, signal.SIGSTOP, "has not answered for 30 s"),
        (1, 0, "has failed, its own output says why"),
        (0, 0, "has failed, its own output says why"),
    ],
)
def test_a_lost_process_is_named_and_ends_the_other(tmp_path, lost, number, how):
    fail = f"{lost} {int(number)}"
    with two_processes(tmp_path, SECONDS, 200, FAIL=fail) as processes:
        while processes[lost].stdout.readline() not in ("fails now\n", ""):
            pass
        begun = time.monotonic()
        output = processes[1 - lost].communicate(timeout=600)[0]
        seconds = time.monotonic() - begun
    *_, line = output.splitlines()
    assert line.startswith(f"vldm: error: process {lost} of 2 {how}: process {1 - lost} ends, too")
    assert "Traceback" not in output
    assert processes[1 - lost].returncode == 1
    assert seconds < 60
